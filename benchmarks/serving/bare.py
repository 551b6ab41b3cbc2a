"""What people write by hand: Starlette, one forward pass a request in a thread, no batching."""

import os
from pathlib import Path
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.contract.model_folder import InputKind
from worker.data.tokenizers import begin_token
from worker.export import load_model

loaded = load_model(Path(os.environ["BENCH_MODEL"]))
torch.set_num_threads(1)


@torch.inference_mode()
def forward(value: Any) -> list[float]:
    if loaded.description.body.input is InputKind.TEXT:
        assert loaded.tokenizer is not None
        tokens = [begin_token(loaded.tokenizer), *loaded.tokenizer.encode(value).ids][:32]
        batch = {"tokens": torch.tensor([tokens]), "lengths": torch.tensor([len(tokens)])}
        scores: list[float] = loaded.module(batch)[0].softmax(-1).tolist()
        return scores
    values: list[float] = loaded.module({"inputs": torch.tensor([value])})[0].tolist()
    return values


async def predict(request: Request) -> JSONResponse:
    inputs = (await request.json())["inputs"]
    return JSONResponse({"outputs": [await run_in_threadpool(forward, value) for value in inputs]})


async def healthz(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/healthz", healthz)])
