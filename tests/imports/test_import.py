"""`POST /v1/models/import`: what is taken, what is refused, and that nothing is left of what is."""

import io
import json
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from app.contract.errors import ErrorCode, InvalidRequest
from app.contract.model_folder import Pooling
from app.contract.tensors import stock_tensors
from app.db.session import Database
from app.services.models.imports import ImportForm, Imports
from app.services.uploads import Upload
from app.settings import Settings
from app.storage import FolderStore
from tests.contract import datasets
from tests.contract import imported as ours
from tests.contract.assignments import finetuning_of
from tests.contract.runs import final_checkpoint, run_here
from tests.imports.conftest import Post, zip_of
from worker.export import load_model

pytestmark = pytest.mark.databases("sqlite")

Stored = Callable[[str], Path]
Json = dict[str, Any]
CAUSAL: Json = {"kind": "pretrain", "method": "causal_language_model"}
MASKED: Json = {"kind": "pretrain", "method": "masked_language_model"}


def labeled(pooling: Pooling) -> Json:
    return {"kind": "finetune", "method": "classification", "labels": (1, 2, 3), "pooling": pooling}


TAGS: Json = {"kind": "finetune", "method": "sequence_labeling", "labels": ("B-X", "I-X", "O")}


@pytest.fixture
def imports(database: Database, store: FolderStore, settings: Settings) -> Imports:
    return Imports(database, store, settings)


FORMS = [
    pytest.param(ours.body(ours.TRANSFORMER), CAUSAL, id="llama"),
    pytest.param(
        ours.body(ours.TRANSFORMER.model_copy(update={"tie_embeddings": False, "num_key_value_heads": 1})),
        CAUSAL,
        id="llama-untied",
    ),
    pytest.param(ours.body(ours.TRANSFORMER), labeled("last"), id="llama-classifier"),
    pytest.param(ours.body(ours.TRANSFORMER), TAGS, id="llama-tagger"),
    pytest.param(
        ours.body(ours.TRANSFORMER.model_copy(update={"tie_embeddings": False})),
        CAUSAL | {"headless": True},
        id="llama-body",
    ),
    pytest.param(ours.body(ours.TRANSFORMER, bidirectional=True), MASKED, id="modernbert"),
    pytest.param(ours.body(ours.TRANSFORMER, bidirectional=True), labeled("mean"), id="modernbert-classifier"),
    pytest.param(ours.body(ours.TRANSFORMER, bidirectional=True), TAGS, id="modernbert-tagger"),
    pytest.param(ours.body(ours.GPT2), CAUSAL, id="gpt2"),
    pytest.param(ours.body(ours.GPT2.model_copy(update={"tie_embeddings": False})), CAUSAL, id="gpt2-untied"),
    pytest.param(ours.body(ours.GPT2), labeled("last"), id="gpt2-classifier"),
    pytest.param(ours.body(ours.GPT2), TAGS, id="gpt2-tagger"),
    pytest.param(ours.body(ours.BERT, bidirectional=True), MASKED, id="bert"),
    pytest.param(ours.body(ours.BERT, bidirectional=True), labeled("first"), id="bert-classifier"),
    pytest.param(ours.body(ours.BERT, bidirectional=True), TAGS, id="bert-tagger"),
    pytest.param(ours.body(ours.BERT, bidirectional=True), MASKED | {"headless": True}, id="bert-body"),
]


@pytest.mark.parametrize(("body", "described"), FORMS)
def test_what_we_export_comes_back_as_it_was(
    body: Any, described: Json, upload: Post, stored: Stored, tmp_path: Path
) -> None:
    description = ours.exported(tmp_path / "model", body, **described)
    answer = upload(tmp_path / "model")

    assert answer.status_code == 201, answer.text
    view, folder = answer.json(), stored(answer.json()["id"])
    assert load_model(folder).description == description
    assert view["num_parameters"] == description.num_parameters
    assert (view["job_id"], view["dataset_id"], view["parent_model_id"], view["metrics"]) == (None, None, None, {})
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (tmp_path / "model" / "model.safetensors").read_bytes()
    assert {name: array.shape for name, array in load_file(folder / "model.safetensors").items()} == stock_tensors(
        description
    )


def test_it_is_named_and_found_by_its_alias(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    answer = upload(ours.language_model(tmp_path / "gpt2"), "my gpt2.zip", alias="gpt2@base")
    view = client.get("/v1/models/gpt2@base").json()

    assert answer.headers["Location"] == f"/v1/models/{view['id']}"
    assert answer.json() == view
    assert (view["name"], view["aliases"], view["architecture"]["type"]) == ("my gpt2", ["gpt2@base"], "gpt2")
    assert upload(tmp_path / "gpt2", name="Named").json()["name"] == "Named"
    lineage = client.get(f"/v1/models/{view['id']}/lineage").json()["data"]
    assert lineage == [{"model_id": view["id"], "job_id": None, "dataset_id": None, "method": "causal_language_model"}]


def test_the_dashboard_shows_it(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    ours.exported(tmp_path / "bert", ours.body(ours.BERT, bidirectional=True), **MASKED, headless=True)
    body = upload(tmp_path / "bert", name="the body").json()
    page = client.get(f"/models/{body['id']}").text

    assert "the body" in client.get("/models").text
    assert re.findall(r'<div class="what">(.*?)</div>', page) == ["import", "model"]
    assert f"/v1/models/{body['id']}/embed" in page


def test_its_archive_can_be_imported_again(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    first = upload(ours.language_model(tmp_path / "gpt2")).json()
    again = upload(client.get(f"/v1/models/{first['id']}/archive").content).json()

    assert again["digest"] == first["digest"]


def test_a_deleted_import_leaves_nothing(
    client: httpx2.Client, upload: Post, settings: Settings, tmp_path: Path
) -> None:
    view = upload(ours.language_model(tmp_path / "gpt2")).json()

    assert client.delete(f"/v1/models/{view['id']}").status_code == 204
    assert leftovers(settings) == []


def test_an_import_is_made_once_for_its_key(client: httpx2.Client, tmp_path: Path) -> None:
    data = zip_of(ours.language_model(tmp_path / "gpt2"))
    first, again = (
        client.post("/v1/models/import", files={"file": ("a.zip", data)}, headers={"Idempotency-Key": "one"})
        for _ in range(2)
    )

    assert (first.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert first.json() == again.json()
    assert len(client.get("/v1/models").json()["data"]) == 1


def test_it_is_a_parent(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    parent = upload(ours.language_model(tmp_path / "gpt2")).json()["id"]
    files = {"file": ("reviews.csv", b"text,label\ngood,1\nbad,0\nfine,1\npoor,0\n")}
    dataset = client.post("/v1/datasets", files=files).json()["id"]
    spec = {"kind": "finetune", "parent": parent, "dataset": dataset, "method": {"type": "classification"}}

    assert client.post("/v1/jobs", json=spec).status_code == 202
    estimate = client.post("/v1/jobs/estimate", json=spec).json()
    assert (
        estimate["num_parameters"]
        == ours.exported(
            tmp_path / "child", ours.body(ours.GPT2), **labeled("last") | {"labels": ("0", "1")}
        ).num_parameters
    )


def test_a_body_alone_has_no_method_to_go_on_with(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    ours.exported(tmp_path / "bert", ours.body(ours.BERT, bidirectional=True), **MASKED, headless=True)
    parent = upload(tmp_path / "bert").json()["id"]
    dataset = client.post("/v1/datasets", files={"file": ("a.txt", b"some text")}).json()["id"]
    spec = {"kind": "finetune", "parent": parent, "dataset": dataset, "method": {"type": "masked_language_model"}}

    answer = client.post("/v1/jobs", json=spec)
    assert (answer.status_code, answer.json()["code"]) == (422, "parent_incompatible")
    assert "masked_language_model without its head" in answer.json()["detail"]


def test_a_body_alone_is_a_parent(upload: Post, stored: Stored, tmp_path: Path) -> None:
    ours.exported(tmp_path / "bert", ours.body(ours.BERT, bidirectional=True), **MASKED, headless=True)
    parent = stored(upload(tmp_path / "bert").json()["id"])
    labeled_text, method = datasets.labeled_text(tmp_path), {"type": "classification"}

    lines = run_here(finetuning_of(parent, tmp_path, labeled_text, method, duration={"steps": 2}))

    description = load_model(final_checkpoint(lines) / "model").description
    assert (description.method, description.headless, description.pooling) == ("classification", False, "first")


def test_openai_s_client_finds_it(client: httpx2.Client, upload: Post, tmp_path: Path) -> None:
    view = upload(ours.language_model(tmp_path / "gpt2")).json()
    answer = client.get(f"/openai/v1/models/{view['id']}")

    assert (answer.status_code, answer.json()["id"]) == (200, view["id"])


def test_parts_of_other_dtypes_and_old_names_become_one_file(upload: Post, stored: Stored, tmp_path: Path) -> None:
    """In two files, half of it in half precision, without the prefix of the whole model, with constants beside it."""
    folder = ours.language_model(tmp_path / "gpt2")
    whole = load_model_of(folder)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    names = sorted(tensors)
    tensors |= {name: tensors[name].astype(np.float16) for name in names[::2]}
    tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 32, 32), np.uint8))
    parts = {
        "model-00001-of-00002.safetensors": names[:9],
        "model-00002-of-00002.safetensors": [*names[9:], "h.0.attn.bias"],
    }
    (folder / WEIGHTS).unlink()
    for part, members in parts.items():
        save_file({name: tensors[name] for name in members}, folder / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: part for part, members in parts.items() for name in members}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))

    answer = upload(folder)

    assert answer.status_code == 201, answer.text
    loaded = load_model(stored(answer.json()["id"]))
    for name, tensor in loaded.module.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-4)


def test_a_folder_inside_the_archive_is_found(upload: Post, tmp_path: Path) -> None:
    ours.language_model(tmp_path / "outer" / "gpt2")
    (tmp_path / "outer" / "gpt2" / "onnx").mkdir()
    (tmp_path / "outer" / "gpt2" / "onnx" / "config.json").write_text("{}")

    assert upload(tmp_path / "outer").status_code == 201


WEIGHTS = "model.safetensors"


def load_model_of(folder: Path) -> dict[str, torch.Tensor]:
    """Of a folder without our own description."""
    ours.exported(folder.parent / "again", ours.body(ours.GPT2), **CAUSAL)
    return dict(load_model(folder.parent / "again").module.state_dict())


def changed(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))

    return change


def retensored(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def written(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(data)


def cut_off(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-100])


def overlapping(folder: Path) -> None:
    """Two tensors share their bytes."""
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    told = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(told)) + told + data[8 + length :])


def tokenizer_with(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


LLAMA: Json = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
WRONG_FOLDERS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "pickle": (written("pytorch_model.bin", b"\x80\x04."), "pytorch_model.bin", "save_pretrained"),
    "another pickle": (written("old.PT", b"x"), "old.PT", "not read"),
    "no config": (without("config.json"), "config.json", "no such file"),
    "config is no JSON": (written("config.json", b"{"), "config.json", "no JSON"),
    "config is a list": (written("config.json", b"[]"), "config.json", "no JSON object"),
    "config is deep": (written("config.json", b"[" * 100_000), "config.json", "no JSON"),
    "no weights": (without(WEIGHTS), WEIGHTS, "no such file"),
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json", "AutoTokenizer"),
    "tokenizer is no JSON": (written("tokenizer.json", b"no"), "tokenizer.json", "cannot be read"),
    "tokenizer of an unknown kind": (tokenizer_with(model={"type": "Magic"}), "tokenizer.json", "cannot be read"),
    "tokenizer without tokens": (
        tokenizer_with(model={"type": "BPE", "vocab": {}, "merges": []}, added_tokens=[]),
        "tokenizer.json",
        "no token",
    ),
    "begin token unknown": (
        written("tokenizer_config.json", b'{"bos_token": "<nowhere>"}'),
        "tokenizer.json",
        "no begin token: '<nowhere>'",
    ),
    "unknown family": (changed(model_type="mamba"), "config.json: model_type", "'mamba' is not supported; llama"),
    "unknown class": (changed(architectures=["GPT2DoubleHeadsModel"]), "config.json: architectures", "GPT2LMHead"),
    "class that is a list": (changed(architectures=[["GPT2Model"]]), "config.json: architectures", "not supported"),
    "no class": (changed(architectures=...), "config.json: architectures", "None is not supported"),
    "unknown activation": (changed(activation_function="swish"), "config.json: activation_function", "'gelu_new'"),
    "attention by layer": (
        changed(scale_attn_by_inverse_layer_idx=True),
        "config.json: scale_attn_by_inverse_layer_idx",
        "True is not supported",
    ),
    "cross attention": (changed(add_cross_attention=True), "config.json: add_cross_attention", "not supported"),
    "quantised": (changed(quantization_config={"bits": 4}), "config.json: quantization_config", "only null"),
    "own code": (changed(auto_map={"AutoModel": "x.Y"}), "config.json: auto_map", "only null"),
    "a size that is text": (changed(n_embd="32"), "config.json: n_embd", "'32'"),
    "a size that is missing": (changed(n_layer=...), "config.json: n_layer", "missing"),
    "heads that do not divide": (changed(n_head=3), "config.json", "not divisible"),
    "rope scaling": (
        changed(**LLAMA, rope_scaling={"rope_type": "linear", "factor": 2.0}),
        "config.json",
        "rope_scaling of the kind 'linear' is not supported",
    ),
    "rope scaling by its new name": (
        changed(**LLAMA, rope_parameters={"rope_type": "llama3", "rope_theta": 1e4}),
        "config.json",
        "'llama3' is not supported",
    ),
    "attention bias": (changed(**LLAMA, attention_bias=True), "config.json: attention_bias", "not supported"),
    "wide heads": (changed(**LLAMA, head_dim=32), "config.json", "head_dim 32"),
    "billions of parameters": (
        changed(n_layer=1_000, n_embd=65_536, n_head=64, n_inner=65_536),
        "config.json",
        "limit",
    ),
    "another shape": (changed(n_inner=44), f"{WEIGHTS}: transformer.h.0.mlp.c_fc.bias", "[40]"),
    "a layer too few": (changed(n_layer=3), "transformer.h.2.ln_1.weight", "missing"),
    "a layer too many": (changed(n_layer=1), f"{WEIGHTS}: transformer.h.1.attn.c_attn.bias", "no such tensor"),
    "missing tensor": (
        retensored(lambda tensors: tensors.pop("transformer.ln_f.weight")),
        "transformer.ln_f.weight",
        "missing",
    ),
    "doubles": (
        retensored(lambda tensors: tensors.update({"transformer.ln_f.bias": np.zeros(32, np.float64)})),
        f"{WEIGHTS}: transformer.ln_f.bias",
        "'F64' is not supported",
    ),
    "not finite": (
        retensored(lambda tensors: tensors.update({"transformer.ln_f.bias": np.full(32, np.inf, np.float16)})),
        f"{WEIGHTS}: transformer.ln_f.bias",
        "not finite",
    ),
    "the same tensor by two names": (
        retensored(lambda tensors: tensors.update({"ln_f.bias": np.zeros(32, np.float32)})),
        f"{WEIGHTS}: transformer.ln_f.bias",
        "twice",
    ),
    "weights cut off": (cut_off, WEIGHTS, "cut off"),
    "weights overlap": (overlapping, WEIGHTS, "does not begin"),
    "weights empty": (written(WEIGHTS, b""), WEIGHTS, "no safetensors file"),
    "header too long": (written(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), WEIGHTS, "no safetensors file"),
    "header is no JSON": (written(WEIGHTS, struct.pack("<Q", 2) + b"[]"), WEIGHTS, "cannot be read"),
    "header of other fields": (
        written(WEIGHTS, struct.pack("<Q", 9) + b'{"a": {}}'),
        WEIGHTS,
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_a_wrong_folder_is_refused_and_leaves_nothing(
    case: str, imports: Imports, settings: Settings, tmp_path: Path
) -> None:
    change, location, message = WRONG_FOLDERS[case]
    change(ours.language_model(tmp_path / "model"))
    archive = tmp_path / "model.zip"
    archive.write_bytes(zip_of(tmp_path / "model"))

    with pytest.raises(InvalidRequest) as caught:
        imports.create("default", Upload(archive, "model.zip", archive.stat().st_size, "0" * 64), ImportForm())

    code = ErrorCode.TOO_LARGE if case == "billions of parameters" else ErrorCode.INVALID_MODEL
    assert (caught.value.errors[0].location, caught.value.code) == (location, code)
    assert message in caught.value.errors[0].message
    assert leftovers(settings) == []


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("config.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def damaged() -> bytes:
    data = bytearray(zipped(("config.json", json.dumps(LLAMA).encode() * 50)))
    data[60] ^= 0xFF
    return bytes(data)


WRONG_FILES = {
    "empty": (b"", "empty"),
    "no zip": (b"PK is not enough", "damaged"),
    "traversal": (zipped(("../config.json", b"{}")), "leaves the archive"),
    "absolute": (zipped(("/config.json", b"{}")), "absolute"),
    "link": (zipped((link(), b"/etc/passwd")), "is a link"),
    "bomb": (zipped(("config.json", b"\0" * (64 << 20))), "times its size"),
    "damaged": (damaged(), "damaged"),
    "nothing in it": (zipped(("readme.txt", b"x")), "no such file"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused_and_leaves_nothing(case: str, upload: Post, settings: Settings) -> None:
    data, message = WRONG_FILES[case]
    answer = upload(data)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_model"), answer.text
    assert message in answer.json()["detail"]
    assert leftovers(settings) == []


def test_an_archive_of_several_models_is_refused(upload: Post) -> None:
    answer = upload(zipped(("a/config.json", b"{}"), ("b/config.json", b"{}")))

    assert "several models: a, b" in answer.json()["detail"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_in_the_archive_is_refused(upload: Post) -> None:
    answer = upload(zipped(("config.json", b"{}"), ("config.json", b"[]")))

    assert "twice" in answer.json()["detail"]


def test_weights_beyond_the_limit_of_uploads_are_refused(upload: Post, settings: Settings, tmp_path: Path) -> None:
    """Zeros pack well; what is unpacked counts."""
    folder = ours.language_model(tmp_path / "model")
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * settings.max_upload_bytes)
    answer = upload(folder)

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert leftovers(settings) == []


def test_an_alias_that_could_be_an_id_is_refused(upload: Post, tmp_path: Path) -> None:
    answer = upload(ours.language_model(tmp_path / "model"), alias="model_1")

    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, "alias")


def test_our_own_description_must_not_contradict_the_stock_one(upload: Post, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    ours.exported(folder, ours.body(ours.GPT2), **labeled("last"))
    path = folder / "pretune.json"
    path.write_text(path.read_text().replace('"pooling": "last"', '"pooling": "mean"'))

    answer = upload(folder)
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, "pretune.json: pooling")


def leftovers(settings: Settings) -> list[Path]:
    folders = (settings.scratch_dir, settings.artifacts_dir)
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
