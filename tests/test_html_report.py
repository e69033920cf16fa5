"""The HTML reports: what stands in them is what was measured, and nothing of it can run."""

import base64
import dataclasses
import hashlib
import itertools
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from dashboards import HOSTILE as HOSTILE_TENSOR
from dashboards import alarm, record
from reported import HOSTILE, Page, diagnosed, treated

from unvanish.errors import BadInput
from unvanish.languages import LANGUAGES, speaking
from unvanish.recording import Recording
from unvanish.recording.summarising import summarise
from unvanish.report.html import (
    diagnosis_cell,
    diagnosis_page,
    recording_page,
    treatment_cell,
    treatment_page,
)
from unvanish.report.html.axis import Axis, axis_of, bins
from unvanish.report.html.chart import power_of_ten
from unvanish.report.html.heatmap import DARKEST, UNREAD, ZERO, as_bytes, palette, png
from unvanish.report.html.profile import depth_profile
from unvanish.report.html.stairs import steps_of
from unvanish.report.sections import verdict
from unvanish.report.sentences import sentence
from unvanish.trace import Activation, Layer, Trace, preactivation_edges

KINDS = ("decaying", "residual", "recurrent", "healthy", "hostile")
ADDRESSES = ("src", "href", "action", "data", "poster", "srcset", "background", "xlink:href")


def recorded_page(folder: Path, language: str = "en", hostile: bool = False) -> str:
    record(folder, steps=40, tensors=12, hostile=hostile)
    with Recording.open(folder) as recording:
        return recording_page(recording, summarise(recording), language)


def every_page(folder: Path) -> list[str]:
    pages = [diagnosis_page(diagnosed(kind), "en") for kind in KINDS]
    return [*pages, treatment_page(treated(), "en"), recorded_page(folder, hostile=True)]


def test_nothing_in_a_page_asks_for_an_address(tmp_path: Path) -> None:
    for text in every_page(tmp_path):
        page = Page(text)
        asked = [a[name] or "" for _tag, a in page.elements for name in ADDRESSES if name in a]
        assert asked
        assert all(one.startswith(("#", "data:image/png;base64,")) for one in asked)
        assert not page.of("link", "iframe", "object", "embed", "form", "base")
        assert "@import" not in text
        assert "url(" not in text


def test_the_policy_allows_only_the_style_and_the_script_that_are_there(tmp_path: Path) -> None:
    for text in every_page(tmp_path):
        (policy,) = [m["content"] or "" for m in Page(text).of("meta") if "http-equiv" in m]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == "data:"
        for kind in ("style", "script"):
            (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
        elements = Page(text).elements
        assert not [a for _tag, a in elements if "style" in a or any(k.startswith("on") for k in a)]


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    texts = [diagnosis_page(diagnosed("hostile"), "en"), recorded_page(tmp_path, hostile=True)]
    for text, name in zip(texts, (HOSTILE, HOSTILE_TENSOR), strict=True):
        page = Page(text)
        assert len(page.of("script")) == 1
        assert not page.of("img")
        assert name in page.text
    cell = Page(diagnosis_cell(diagnosed("hostile")))
    assert not cell.of("script", "img")


def test_control_characters_and_lone_surrogates_are_replaced() -> None:
    text = diagnosis_page(diagnosed("hostile"), "en")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)
    text.encode("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_says_what_the_diagnosis_says(kind: str) -> None:
    diagnosis = diagnosed(kind)
    page = Page(diagnosis_page(diagnosis, "en"))
    assert verdict(diagnosis)[1] in page.text
    for finding in diagnosis.findings:
        if finding.name != "blind-spot":
            assert finding.code in page.text
            assert sentence(finding) in page.text
            for number in finding.evidence.values():
                assert format(number, ",.4g") in page.text
    for item in diagnosis.ruled_out:
        assert f"{item.name}: " in page.text
    for said in diagnosis.blind_spots:
        assert said in page.text
    for what_if in diagnosis.what_ifs:
        assert what_if.change in page.text


def test_each_kind_of_net_has_its_pictures() -> None:
    pictures = {
        kind: set(re.findall(r'<section aria-labelledby="(\w+)-heading" id|id="([\w-]+)"', page))
        for kind in KINDS
        for page in [diagnosis_page(diagnosed(kind), "en")]
    }
    ids = {
        kind: {name for pair in found for name in pair if name} for kind, found in pictures.items()
    }
    assert "flow" in ids["residual"]
    assert "flow" not in ids["decaying"]
    assert "time" in ids["recurrent"]
    assert "time" not in ids["decaying"]
    assert all("depth" in found for found in ids.values())
    assert "activations" in ids["decaying"]


def test_every_picture_has_a_title_a_description_and_its_numbers(tmp_path: Path) -> None:
    for text in every_page(tmp_path):
        page = Page(text)
        ids = {a["id"] for _tag, a in page.elements if "id" in a}
        drawn = [a for a in page.of("svg") if a.get("role") == "img"]
        assert drawn
        for attributes in drawn:
            assert {attributes["aria-labelledby"], attributes["aria-describedby"]} <= ids
        tables = [a for a in page.of("details") if a.get("class") == "numbers"]
        assert len(tables) >= len(drawn)


def test_ids_are_there_once_and_headings_in_order(tmp_path: Path) -> None:
    for text in every_page(tmp_path):
        page = Page(text)
        ids = [a["id"] for _tag, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids))
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def layer(name: str, norm: float | None, **decades: float) -> Layer:
    return Layer(
        name=name,
        modules=(),
        parameters=(),
        norm=norm,
        decades=decades,
        elasticity=None,
        output_rms=None,
    )


def waterfall(layers: list[Layer]) -> list[dict[str, str | None]]:
    picture = depth_profile(layers)
    assert picture is not None
    return Page(picture).of("rect")


def test_a_waterfall_ends_where_the_next_layer_begins() -> None:
    split = {"activation": -1.5, "weight": 0.5}
    layers = [layer(f"l{k}", 10.0**-k, **split) for k in range(5)]
    steps = steps_of(layers, 300)
    assert [step.level for step in steps] == [0, -1, -2, -3, -4]
    bars = [
        bar
        for bar in waterfall(layers)
        if bar.get("class") in split and "%" in (bar.get("x") or "")
    ]
    assert len(bars) == 10
    for down, up in zip(bars[::2], bars[1::2], strict=True):
        left, width = (float((down[key] or "").rstrip("%")) for key in ("x", "width"))
        assert width == pytest.approx(3 * float((up["width"] or "").rstrip("%")), rel=0.01)
        assert float((up["x"] or "").rstrip("%")) == pytest.approx(left, abs=0.02)


def test_neighbours_of_a_deep_net_are_put_together_without_losing_a_decade() -> None:
    layers = [layer(f"l{k}", 10.0 ** (-k / 100), weight=-0.01) for k in range(10_000)]
    steps = steps_of(layers, 150)
    assert len(steps) == 150
    assert sum(step.count for step in steps) == 10_000
    assert math.fsum(step.total for step in steps) == pytest.approx(-100)
    picture = depth_profile(layers)
    assert picture is not None
    assert len(picture) < 250_000


def test_a_zero_and_what_was_not_measured_are_not_numbers() -> None:
    layers = [layer("a", 1.0, weight=-1.0), layer("b", 0.1, weight=0.0), layer("zero", 0.0)]
    picture = depth_profile([*layers, layer("unknown", None)])
    assert picture is not None
    text = Page(picture).text
    assert "zero: the gradient is exactly zero" in text
    assert "unknown: not measured" in text


def test_a_net_of_one_layer_and_an_empty_trace_have_a_page() -> None:
    diagnosis = diagnosed("healthy")
    for layers in ((), diagnosis.trace.layers[:1]):
        trace = dataclasses.replace(diagnosis.trace, layers=layers, activations=(), profiles=())
        assert "</html>" in diagnosis_page(dataclasses.replace(diagnosis, trace=trace), "en")


def test_figures_that_are_not_finite_do_not_stop_a_page() -> None:
    diagnosis = diagnosed("decaying")
    broken = [
        dataclasses.replace(
            one, norm=math.nan, decades={"weight": math.inf, "activation": math.nan}
        )
        for one in diagnosis.trace.layers
    ]
    wild = [
        dataclasses.replace(a, input_rms=math.inf, input_mean=math.nan)
        for a in diagnosis.trace.activations
    ]
    trace = dataclasses.replace(diagnosis.trace, layers=tuple(broken), activations=tuple(wild))
    text = diagnosis_page(dataclasses.replace(diagnosis, trace=trace), "en")
    assert not [a for _t, a in Page(text).elements if "nan" in (a.get("x") or "")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_four_languages(language: str, tmp_path: Path) -> None:
    pages = (
        diagnosis_page(diagnosed("decaying"), language),
        treatment_page(treated(), language),
        recorded_page(tmp_path, language),
    )
    for text in pages:
        assert Page(text).of("html")[0]["lang"] == language
    with speaking(language):
        assert verdict(diagnosed("decaying"))[1] in Page(pages[0]).text


def test_numbers_have_the_local_form() -> None:
    factor = diagnosed("decaying").findings[0].evidence["factor_per_layer"]
    assert format(factor, ",.4g") in Page(diagnosis_page(diagnosed("decaying"), "en")).text
    local = format(factor, ".4g").replace(".", ",")
    assert local in Page(diagnosis_page(diagnosed("decaying"), "ru")).text


def test_report_writes_by_the_name_of_the_file(tmp_path: Path) -> None:
    diagnosed("decaying").report(tmp_path / "a.html", language="tr")
    diagnosed("decaying").report(tmp_path / "a.txt")
    treated().report(tmp_path / "b.htm")
    treated().report(tmp_path / "b.txt")
    assert '<html lang="tr">' in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<html" in (tmp_path / "b.htm").read_text(encoding="utf-8")
    assert "<" not in (tmp_path / "a.txt").read_text(encoding="utf-8")
    assert "<html" not in (tmp_path / "b.txt").read_text(encoding="utf-8")
    with pytest.raises(BadInput, match="xx"):
        diagnosed("decaying").report(tmp_path / "c.html", language="xx")
    with pytest.raises(BadInput, match="cannot write"):
        treated().report(tmp_path / "no" / "c.html")


def test_a_treatment_has_its_trial_and_its_patch() -> None:
    treatment = treated()
    page = Page(treatment_page(treatment, "en"))
    assert treatment.edits
    assert treatment.verdict is not None
    for pair in treatment.verdict.pairs:
        assert format(pair.difference, "+.4g") in page.text
    assert treatment.patch.script in page.text
    for trial in treatment.trials:
        assert not trial.remedies or trial.remedies[0] in page.text


def test_cells_need_neither_script_nor_style_sheet() -> None:
    for text in (diagnosis_cell(diagnosed("decaying")), treatment_cell(treated())):
        page = Page(text)
        assert not page.of("script", "style", "link", "html")
        assert not [a for _tag, a in page.elements if "id" in a or "class" in a]
        assert len(text) < 20_000


def test_cells_speak_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNVANISH_LANGUAGE", "uz")
    with speaking("uz"):
        said = verdict(diagnosed("decaying"))[1]
    for text in (diagnosis_cell(diagnosed("decaying")), treatment_cell(treated())):
        assert Page(text).elements[0][1]["lang"] == "uz"
    assert said in Page(diagnosis_cell(diagnosed("decaying"))).text


def test_a_picture_of_bytes_is_read_back_by_the_rules_of_png() -> None:
    points = np.arange(256, dtype=np.uint8).reshape(4, 64)
    file = png(points)
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(file):
        (size,) = struct.unpack(">I", file[at : at + 4])
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", file[at + 8 + size : at + 12 + size])
        assert check == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + size
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (64, 4, 8, 3, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(4, 65)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:] == points).all()
    assert len(chunks[b"PLTE"]) == 768


def test_unread_zero_and_small_have_bytes_of_their_own() -> None:
    values = np.array([[math.nan, -math.inf, -3.0, 0.0, 5.0, -9.0]])
    found = as_bytes(values, -3.0, 0.0)[0].tolist()
    assert found == [UNREAD, ZERO, DARKEST, 255, 255, DARKEST]
    light = [sum(colour) for colour in palette()[DARKEST:]]
    assert light[0] < light[-1]


def test_a_recording_with_no_step_and_one_without_gradients_have_a_page(tmp_path: Path) -> None:
    record(tmp_path / "empty", steps=0)
    with Recording.open(tmp_path / "empty") as recording:
        text = recording_page(recording, summarise(recording), "en")
    assert "No verdict" in Page(text).text


def test_alarms_stand_where_they_were_on_the_time_axis(tmp_path: Path) -> None:
    record(tmp_path, steps=101, tensors=4)
    with Recording.open(tmp_path) as recording:
        summary = summarise(recording)
        text = recording_page(recording, summary, "en")
    for one in summary.alarms:
        assert f"step {one.step}" in Page(text).text
        assert one.name in Page(text).text
    lanes = [a for a in Page(text).of("rect") if "alarm-" in (a.get("class") or "") and "y" in a]
    wanted = {round(float(one.step), 2) for one in summary.alarms}
    found = {float((a["x"] or "").rstrip("%")) for a in lanes if "%" in (a.get("x") or "")}
    assert wanted <= found  # of 101 steps, the place in per cent is the step
    assert alarm(3).kind == "alarm"


def test_axes_hold_what_they_were_made_of() -> None:
    axis = axis_of([-3.0, math.nan, 5.0])
    assert 0 < axis.place(-3.0) < axis.place(5.0) < 100
    assert Axis(0, 1).place(7) == 100
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
    assert all(tick == int(tick) for tick in Axis(0.1, 1.9).powers(9))
    assert [len(group) for group in bins(10, 3)] == [4, 3, 3]
    assert power_of_ten(-12) == "10⁻¹²"
    assert power_of_ten(-5.5) == "3.2·10⁻⁶"


def test_histograms_of_what_goes_into_an_activation_count_every_sampled_entry() -> None:
    (first, *_rest) = diagnosed("decaying").trace.activations
    assert sum(first.histogram) == 32 * 8
    edges = preactivation_edges()
    assert len(edges) == len(first.histogram) + 1
    middle = (edges[:-1] + edges[1:]) / 2
    mean = float((middle * first.histogram).sum()) / sum(first.histogram)
    assert mean == pytest.approx(first.input_mean, abs=float(np.diff(edges).max() / 64))


def test_a_trace_of_before_the_histograms_can_be_read() -> None:
    data = diagnosed("healthy").trace.to_json()
    for activation in data["activations"]:
        del activation["histogram"]
    trace = Trace.from_json(data)
    assert isinstance(trace.activations[0], Activation)
    assert trace.activations[0].histogram == ()
    page = diagnosis_page(dataclasses.replace(diagnosed("healthy"), trace=trace), "en")
    assert "Where the units sit" in page
