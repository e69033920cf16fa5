"""Reports, cards and the command line in four languages, against sentences written by hand."""

import json
import string
from pathlib import Path

import click
import pytest
import torch
from torch import nn

import unvanish
from unvanish.cli import commands, run
from unvanish.diagnosis import Diagnosis
from unvanish.languages import Filling, localised, recognised, speaking
from unvanish.languages.catalogs import templates
from unvanish.languages.numbers import Figure
from unvanish.lessons.depth_decay import sick, well
from unvanish.report import text
from unvanish.report.sentences import sentence
from unvanish.surgery.describe import describe
from unvanish.surgery.edits import Edit

SICK = "unvanish.lessons.depth_decay:sick"
OPENING = {
    "en": "Broken: The gradient vanishes with depth: each layer passes on 0.32 of it",
    "ru": "Сломано: Затухающий градиент: каждый слой пропускает лишь 0,32 его величины",
    "tr": "Bozuk: Kaybolan gradyan: her katman onun 0,32 katını geçiriyor",
    "uz": "Buzilgan: Gradient yoʻqolishi (vanishing gradient): har bir qatlam uning 0,32 ulushini",
}
HEALTHY = {
    "en": "Healthy: the gradient arrives everywhere.",
    "ru": "Здорова: градиент доходит везде.",
    "tr": "Sağlıklı: gradyan her yere ulaşıyor.",
    "uz": "Sogʻlom: gradient hamma joyga yetib boradi.",
}
REACHED = {
    "en": "detached: the gradient reaches 42 of 42 trainable tensors",
    "ru": "detached: градиент доходит до 42 из 42 обучаемых тензоров",
    "tr": "detached: gradyan 42 eğitilebilir tensörden 42 tanesine ulaşıyor",
    "uz": "detached: gradient 42 ta oʻqitiladigan tenzordan 42 tasiga yetib boradi",
}
UNTESTED = {
    "en": "not tested: step size and optimizer (pass optimizer=)",
    "ru": "не проверено: величина шага и оптимизатор (передайте optimizer=)",
    "tr": "denenmedi: adım büyüklüğü ve eniyileyici (optimizer= verin)",
    "uz": "sinalmagan: qadam kattaligi va optimallashtirgich (optimizer= bering)",
}
TITLE = {
    "en": "UV301 depth-decay: the gradient vanishes with depth",
    "ru": "UV301 depth-decay: градиент затухает с глубиной",
    "tr": "UV301 depth-decay: gradyan derinlikle kayboluyor",
    "uz": "UV301 depth-decay: gradient chuqurlik bilan yoʻqoladi",
}
LANGUAGES = tuple(OPENING)


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return unvanish.diagnose(**sick(0))


@pytest.mark.parametrize("language", LANGUAGES)
def test_report_of_a_sick_net(diagnosis: Diagnosis, language: str, tmp_path: Path) -> None:
    diagnosis.report(tmp_path / "report.txt", language=language)
    said = " ".join((tmp_path / "report.txt").read_text(encoding="utf-8").split())
    assert said.startswith(OPENING[language])
    assert REACHED[language] in said
    assert UNTESTED[language] in said
    assert "depth-decay UV301" in said  # names and codes are the same in every language
    for other in set(LANGUAGES) - {language}:
        assert OPENING[other] not in said
        assert UNTESTED[other] not in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_report_of_a_healthy_net(language: str) -> None:
    said = text.render(unvanish.diagnose(**well(0)), language=language)
    assert said.startswith(HEALTHY[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_report_as_a_page(diagnosis: Diagnosis, language: str, tmp_path: Path) -> None:
    diagnosis.report(tmp_path / "report.html", language=language)
    said = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert OPENING[language].partition(": ")[2].partition(":")[0] in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_command_line_diagnoses(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", SICK, "--language", language]) == 1
    assert " ".join(capsys.readouterr().out.split()).startswith(OPENING[language])


def test_json_is_the_same_in_every_language(capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for language in LANGUAGES:
        assert run(["diagnose", SICK, "--json", "-", "--language", language]) == 1
        plain = json.loads(capsys.readouterr().out)
        assert plain["findings"][0]["name"] == "depth-decay"
        found.add(json.dumps({key: plain[key] for key in ("findings", "expected", "blind_spots")}))
    assert len(found) == 1


def test_variable_speaks_where_no_option_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNVANISH_LANGUAGE", "tr")
    assert run(["explain", "depth-decay"]) == 0
    assert capsys.readouterr().out.startswith(TITLE["tr"])
    assert run(["explain", "depth-decay", "--language", "ru"]) == 0
    assert capsys.readouterr().out.startswith(TITLE["ru"])
    assert run(["--language", "uz", "explain", "depth-decay"]) == 0
    assert capsys.readouterr().out.startswith(TITLE["uz"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_command_line_explains(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "UV301", "--language", language]) == 0
    assert capsys.readouterr().out.startswith(TITLE[language])
    assert run(["explain", "--language", language]) == 0
    assert TITLE[language].partition(": ")[2] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Healthy: no alarm stands after 2 steps"),
        ("ru", "Здорова: после 2 шагов ни одна тревога не держится"),
        ("tr", "Sağlıklı: 2 adımdan sonra süren alarm yok"),
        ("uz", "Sogʻlom: 2 qadamdan keyin davom etayotgan ogohlantirish yoʻq"),
    ],
)
def test_command_line_shows_a_recording(
    language: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with unvanish.watch(model, optimizer, to=tmp_path / "run"):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    assert run(["show", str(tmp_path / "run"), "--language", language]) == 0
    assert " ".join(capsys.readouterr().out.split()).startswith(said)


def test_unknown_language_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "--language", "xx"]) == 2
    assert "en, ru, tr, uz" in capsys.readouterr().err
    monkeypatch.setenv("UNVANISH_LANGUAGE", "xx")
    assert run(["explain"]) == 2
    assert "'xx'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("language", "usage", "help_line"),
    [
        ("en", "Usage: ", "Show this message and exit."),
        ("ru", "Использование: ", "Показать эту справку и выйти."),
        ("tr", "Kullanım: ", "Bu yardımı gösterip çıkar."),
        ("uz", "Foydalanish: ", "Shu yordamni koʻrsatib chiqish."),
    ],
)
def test_help_follows_the_language(
    language: str, usage: str, help_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("diagnose", "treat", "run", "show", "explain"):
        assert run(["--language", language, name, "--help"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(usage)
        assert help_line in said
        assert "--language" in said


def test_every_command_offers_a_language() -> None:
    reporting = ("diagnose", "treat", "run", "show", "explain")
    for name in reporting:
        options = [o for o in commands.commands[name].params if isinstance(o, click.Option)]
        assert "--language" in {flag for option in options for flag in option.opts}


def test_a_saved_diagnosis_reads_in_any_language(diagnosis: Diagnosis, tmp_path: Path) -> None:
    diagnosis.save(tmp_path / "net.json")
    loaded = Diagnosis.load(tmp_path / "net.json")
    for language in LANGUAGES:
        assert text.render(loaded, language=language) == text.render(diagnosis, language=language)


def test_print_follows_the_variable(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    english = str(diagnosis)
    monkeypatch.setenv("UNVANISH_LANGUAGE", "uz")
    assert " ".join(str(diagnosis).split()).startswith(OPENING["uz"])
    monkeypatch.setenv("UNVANISH_LANGUAGE", "en")
    assert str(diagnosis) == english


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("the logarithm of zero", "логарифм нуля"),
        (
            "Log (the logarithm of zero), term 2 of 3 of the loss,",
            "Log (логарифм нуля), слагаемое 2 из 3 в потерях,",
        ),
        (
            "only rows that were looked up get a gradient: 96 of 100 were not",
            "градиент получают только строки, которые были запрошены: 96 из 100 не были",
        ),
        (
            "requires_grad is False for 2 of 21 tensors",
            "requires_grad равно False у 2 из 21 тензора",
        ),
        (
            "requires_grad is False for 2 of 6 tensors",
            "requires_grad равно False у 2 из 6 тензоров",
        ),
        (
            "21 steps at 0.5 times the step size (1.25 s)",
            "21 шаг с величиной шага, умноженной на 0,5 (1,25 с)",
        ),
        ("weight decay: 3.5", "weight decay: 3.5"),
    ],
)
def test_sentences_of_records_are_met_by_their_templates(english: str, russian: str) -> None:
    with speaking("ru"):
        assert recognised(english) == russian
    assert recognised(english) == english


RISES = "the loss stands above 2.303 since step 1200"
BEFORE = (
    "Just before, at step 1190, the learning rate was multiplied by 10; at step 1195, the gradient "
    "of layers.0.weight was 120 times its usual size."
)
PARTED = (
    "gradient times weight of the first layers is 5.2 decades below that of the last ones, and the "
    "updates are 3.9 decades apart"
)


@pytest.mark.parametrize(
    ("language", "rises", "before", "parted"),
    [
        (
            "ru",
            "с шага 1200 потери держатся выше 2,303",
            "Перед самым этим на шаге 1190 скорость обучения была умножена на 10; на шаге 1195 "
            "градиент layers.0.weight был в 120 раз больше обычного.",
            "градиент, умноженный на вес, у первых слоёв на 5,2 порядка ниже, чем у последних, а "
            "обновления расходятся на 3,9 порядка",
        ),
        (
            "tr",
            "kayıp 1200. adımdan beri 2,303 değerinin üstünde",
            "Hemen önce, 1190. adımda öğrenme oranı 10 ile çarpıldı; 1195. adımda layers.0.weight "
            "gradyanı olağan büyüklüğünün 120 katıydı.",
            "gradyan çarpı ağırlık, ilk katmanlarda son katmanlardakinden 5,2 mertebe düşük; "
            "güncellemeler arasında 3,9 mertebe fark var",
        ),
        (
            "uz",
            "yoʻqotish 1200-qadamdan beri 2,303 dan yuqorida",
            "Bundan sal oldin 1190-qadamda oʻrganish tezligi 10 ga koʻpaytirildi; 1195-qadamda "
            "layers.0.weight gradienti odatdagidan 120 baravar katta edi.",
            "dastlabki qatlamlarda gradient karra vazn oxirgilarnikidan 5,2 tartib past, "
            "yangilanishlar esa 3,9 tartibga farq qiladi",
        ),
    ],
)
def test_several_sentences_in_one_are_met_each_by_its_own(
    language: str, rises: str, before: str, parted: str
) -> None:
    with speaking(language):
        assert recognised(f"{RISES}.") == f"{rises}."
        assert recognised(f"{RISES}. {BEFORE}") == f"{rises}. {before}"
        assert recognised(PARTED) == parted
        # What nobody translated stays, and spoils nothing beside it.
        assert recognised(f"{RISES}. Nobody wrote this.") == f"{rises}. Nobody wrote this."


@pytest.mark.parametrize("language", ["ru", "tr", "uz"])
def test_every_template_is_met_by_itself_and_by_no_other(language: str) -> None:
    """Whatever the numbers in it, and with another sentence behind it."""
    filling = Filling(language)
    for english, said in templates(language, "details").items():
        if english[0] in " ,;":
            continue
        names = [name for _, name, _, _ in string.Formatter().parse(english) if name is not None]
        plain = {name: f"{3.25 * place + 1:.2f}" for place, name in enumerate(names)}
        local = {name: Figure(localised(n, language), n) for name, n in plain.items()}
        wanted = filling.fill(said, local)
        with speaking(language):
            assert recognised(english.format(**plain)) == wanted
            if ". " in english:  # said of itself, never before another
                continue
            end = "" if english.endswith(".") else "."
            both = f"{english.format(**plain)}{end} {BEFORE}"
            assert recognised(both) == f"{wanted}{end} {recognised(BEFORE)}"


def test_what_a_record_quotes_may_hold_anything() -> None:
    for odd in ("a b (" * 2000 + ")" * 2000, "." * 5000, "x y; " * 2000, "because of a: " * 500):
        with speaking("ru"):
            assert len(recognised(odd)) >= 0.5 * len(odd)


@pytest.mark.parametrize("name", ["norm", "loss", "skip", "weight", "live", "none"])
def test_a_module_named_like_a_word_keeps_its_name(name: str) -> None:
    with speaking("ru"):
        said = recognised(f"at step 7, the gradient of {name} was 12 times its usual size")
    assert said == f"на шаге 7 градиент {name} был в 12 раз больше обычного"


def test_a_name_that_looks_like_a_template_is_only_a_name(diagnosis: Diagnosis) -> None:
    """A module's name may hold braces or a bar: it is put in, never read as a template."""
    from dataclasses import replace

    odd = replace(diagnosis.findings[0], where=("{layers:|a|b|c}{0}",))
    for language in LANGUAGES:
        with speaking(language):
            assert "{layers:|a|b|c}{0}" in sentence(odd)


def test_an_edit_is_described() -> None:
    edit = Edit(action="optimizer", options={"lr": 0.0003})
    assert describe(edit) == "optimizer: lr = 0.0003"
    with speaking("ru"):
        assert describe(edit) == "оптимизатор: lr = 0,0003"
