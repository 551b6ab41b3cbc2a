"""Models that really were trained, asked from their pages: `pretune up`, jobs of seconds, a browser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from pretune import Client
from tests.app.records.files import npz
from tests.e2e.running import running
from tests.e2e.specs import finetune, pretrain, reviews_file, text_file
from tests.web.conftest import WIDE, Complaints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
A_NUMBER = re.compile(r"^-?[\d.e-]+$")
BRIEF: dict[str, Any] = {"duration": {"steps": 4}, "batch_size": 8, "compile": False}


@dataclass(frozen=True)
class Trained:
    """A service with a model of each kind, by name."""

    url: str
    models: dict[str, str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("playground")
    with running(folder / "data") as service, service.client() as client:
        yield Trained(service.url, _train(client, folder))


def _train(client: Client, folder: Path) -> dict[str, str]:
    numbers = np.random.default_rng(0)
    images = (numbers.random((32, 8, 8)) * 255).astype(np.uint8)
    features = numbers.random((32, 3)).astype(np.float32)
    text = client.datasets.upload(text_file(folder), kind="text").id
    reviews = client.datasets.upload(reviews_file(folder)).id
    pictures = client.datasets.upload(_file(folder, "pictures.npz", npz(images=images))).id
    points = client.datasets.upload(_file(folder, "points.npz", npz(features=features, targets=features.sum(1)))).id
    language = client.jobs.create(pretrain(text) | {"training": BRIEF})
    specs = {
        "judge": finetune(language.id, reviews) | {"training": BRIEF},
        "pixels": _pretrain(pictures, "autoencoder"),
        "sum": _pretrain(points, "regression"),
    }
    jobs = {"language": language} | {name: client.jobs.create(spec) for name, spec in specs.items()}
    return {name: job.wait().model().id for name, job in jobs.items()}


def _pretrain(dataset_id: str, method: str) -> dict[str, Any]:
    return {"kind": "pretrain", "dataset": dataset_id, "method": {"type": method}, "training": BRIEF}


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture
def page(browser: Browser, trained: Trained, complaints: Complaints) -> Iterator[Page]:
    context = browser.new_context(base_url=trained.url, viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints.of(page)
    yield page
    context.close()
    assert complaints.unforeseen() == []


def test_text_is_generated_piece_by_piece(page: Page, trained: Trained) -> None:
    page.goto(f"/models/{trained.models['language']}")
    page.get_by_label("Prompt").fill("The statement")
    page.get_by_label("Tokens at most").fill("12")
    page.get_by_label("Seed").fill("3")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#playground")).to_contain_text("12 tokens; ended by length.")
    first = page.locator(".out").inner_text()
    assert first.startswith("The statement")
    assert len(first) > len("The statement")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#playground")).to_contain_text("12 tokens; ended by length.")
    assert page.locator(".out").inner_text() == first, "the same seed, the same text"
    page.get_by_role("button", name="How likely").click()
    expect(page.locator("#playground")).to_contain_text("Perplexity")


def test_classes_have_bars(page: Page, trained: Trained) -> None:
    page.goto(f"/models/{trained.models['judge']}")
    page.get_by_label("Text").fill("soup was superb today")
    page.get_by_role("button", name="Classify").click()
    bars = page.locator("#playground meter")
    expect(bars).to_have_count(2)
    assert sum(float(bar.get_attribute("value") or 0) for bar in bars.all()) == pytest.approx(1, abs=1e-3)


def test_an_image_is_reconstructed(page: Page, trained: Trained) -> None:
    page.goto(f"/models/{trained.models['pixels']}")
    page.get_by_role("button", name="Reconstruct").click()
    expect(page.locator("#playground .wrong")).to_contain_text("Choose an image first.")
    page.get_by_role("button", name="Take a record").click()
    expect(page.get_by_role("img", name="The image to ask about")).to_be_visible()
    page.get_by_role("button", name="Reconstruct").click()
    image = page.get_by_role("img", name="What was reconstructed")
    expect(image).to_be_visible()
    assert image.evaluate("canvas => canvas.width") == 8
    expect(page.locator("#playground")).to_contain_text("mean squared error")


def test_a_number_is_predicted_from_a_record_of_the_data(page: Page, trained: Trained, complaints: Complaints) -> None:
    page.goto(f"/models/{trained.models['sum']}")
    page.get_by_role("button", name="Take a record").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".out")).to_have_text(A_NUMBER)
    page.get_by_label("Features").fill("1, two")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#playground .wrong")).to_contain_text("“two” is no number.")
    complaints.foresee("422")
    page.get_by_label("Features").fill("1, 2")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#playground .wrong")).to_contain_text("takes 3 features, and got 2")


def test_the_page_of_a_job_that_ran_shows_what_it_left(page: Page, trained: Trained) -> None:
    page.goto("/")
    page.get_by_role("link", name="tiny-lm").click()
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("#checkpoints")).to_contain_text("best")
    expect(page.locator("#resolved")).to_contain_text("precision")
    expect(page.locator("#loss svg[role=img] path")).not_to_have_count(0)
    expect(page.locator("#live")).to_have_text("ended")
    page.get_by_role("link", name="Open the model").click()
    expect(page.get_by_role("heading", name="Playground")).to_be_visible()
    page.goto("/workers")
    expect(page.get_by_text("1 alive")).to_have_count(2)


@pytest.mark.parametrize(
    ("model", "languages"),
    [
        ("language", ["curl", "Command line", "Python", "openai"]),
        ("judge", ["curl", "Command line", "Python"]),
        ("sum", ["curl", "Command line", "Python"]),
    ],
)
def test_what_is_there_to_copy_runs_as_it_stands(
    page: Page, trained: Trained, model: str, languages: list[str]
) -> None:
    page.goto(f"/models/{trained.models[model]}")
    snippets = page.locator("section", has_text="Call it").locator("pre")
    assert [each.get_attribute("aria-label") for each in snippets.all()] == languages
    for language, snippet in zip(languages, snippets.all(), strict=True):
        interpreter = ["bash", "-c"] if language in {"curl", "Command line"} else [sys.executable, "-c"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            [*interpreter, snippet.inner_text()],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, (language, done.stderr)
        assert done.stdout.strip(), language
        assert '"code"' not in done.stdout, (language, done.stdout)
