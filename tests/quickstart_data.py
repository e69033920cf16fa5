"""What the quick starts would download, made here: little models, texts and pictures by the same names.

Each function fills the folder that its script runs in, so that a name such as ``Qwen/Qwen3-0.6B`` or
``coco8.yaml`` is found there before anybody asks the network.
"""

import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORDS = (
    "the a cat dog bird child sees hears follows feeds red small old quick today here and".split()
)
SPECIAL = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "<|im_start|>",
    "<|im_end|>",
    "user",
    "assistant",
    ".",
]
SPEECH = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }} <|im_end|> "
    "{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
QWEN = {
    "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": len(WORDS) + len(SPECIAL), "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 5,
}  # fmt: skip


def sentences(count: int) -> list[str]:
    """Sentences of a grammar: there is something to learn from them."""
    random = np.random.default_rng(0)
    one = lambda *words: words[random.integers(len(words))]  # noqa: E731
    return [
        f"{one('the', 'a')} {one('red', 'small', 'old')} {one('cat', 'dog', 'bird')} "
        f"{one('sees', 'hears', 'follows')} {one('the', 'a')} {one('child', 'bird')} {one('today', 'here')} ."
        for _ in range(count)
    ]


def pictures(count: int, size: int, seed: int) -> Iterator[tuple[np.ndarray, tuple[int, int, int]]]:
    """Light squares on dark noise, with their left, top and width."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        picture = random.integers(0, 80, (size, size, 3), dtype=np.uint8)
        width = int(random.integers(size // 6, size // 3))
        left, top = (int(place) for place in random.integers(0, size - width, 2))
        picture[top : top + width, left : left + width] = 220
        yield picture, (left, top, width)


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 28 x 28 in three of ten classes, each a shade of its own."""
    random = np.random.default_rng(seed)
    labels = random.choice(np.array([0, 4, 9], np.uint8), count)
    noise = random.integers(0, 24, (count, 28, 28), dtype=np.uint8)
    return noise + 24 * labels[:, None, None], labels


def idx_files(folder: Path, train: int, test: int) -> None:
    """The four files of MNIST and FashionMNIST, as they lie there after a download."""
    folder.mkdir(parents=True)
    for part, count, seed in (("train", train, 0), ("t10k", test, 1)):
        images, labels = digits(count, seed)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            shape = np.array(values.shape, dtype=">i4").tobytes()
            content = bytes([0, 0, 8, values.ndim]) + shape + values.tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(content)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


def tokenizer(folder: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    inner: Any = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", bos_token="[CLS]",
        eos_token="<|im_end|>", chat_template=SPEECH,
    )  # fmt: skip
    made.save_pretrained(folder)


def language_model(folder: Path, kind: str, dtype: torch.dtype) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**QWEN, tie_word_embeddings=False)
    getattr(transformers, f"{kind}ForCausalLM")(config).to(dtype).save_pretrained(folder)
    tokenizer(folder)


def for_the_trainer(folder: Path) -> None:
    import datasets

    language_model(folder / "Qwen" / "Qwen3-0.6B", "Qwen3", torch.bfloat16)
    rows = datasets.Dataset.from_dict({"sign": ["leo"] * 72, "horoscope": sentences(72)})
    (folder / "karthiksagarn" / "astro_horoscope").mkdir(parents=True)
    rows.to_csv(folder / "karthiksagarn" / "astro_horoscope" / "train.csv")


def for_trl(folder: Path) -> None:
    import datasets

    language_model(folder / "Qwen" / "Qwen2.5-0.5B", "Qwen2", torch.bfloat16)
    spoken = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        for asked, answered in itertools.pairwise(sentences(81))
    ]
    (folder / "trl-lib" / "Capybara").mkdir(parents=True)
    rows = datasets.Dataset.from_dict({"messages": spoken})
    rows.to_json(folder / "trl-lib" / "Capybara" / "train.jsonl")


def for_peft(folder: Path) -> None:
    import datasets

    language_model(folder / "meta-llama" / "Llama-3.2-1B", "Llama", torch.bfloat16)
    datasets.Dataset.from_dict({"text": sentences(256)}).save_to_disk(folder / "lines")


def for_accelerate(folder: Path) -> None:
    import datasets
    import transformers

    torch.manual_seed(0)
    sizes = {**QWEN, "num_key_value_heads": 4}
    model = transformers.BertModel(transformers.BertConfig(**sizes))
    model.save_pretrained(folder / "google-bert" / "bert-base-cased")
    places = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    said = [[places[word] for word in sentence.split()] for sentence in sentences(120)]
    stars = [line[2] % 5 for line in said]
    datasets.Dataset.from_dict({"input_ids": said, "labels": stars}).save_to_disk(
        folder / "reviews"
    )


def for_pytorch(folder: Path) -> None:
    idx_files(folder / "data" / "FashionMNIST" / "raw", 640, 128)


def for_lightning(folder: Path) -> None:
    idx_files(folder / "MNIST" / "raw", 128, 16)


def for_keras(folder: Path) -> None:
    (x_train, y_train), (x_test, y_test) = digits(20, 0), digits(8, 1)
    np.savez(folder / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def for_timm(folder: Path) -> None:
    import timm
    from PIL import Image
    from safetensors.torch import save_file

    for number, (picture, _) in enumerate(pictures(12, 64, 0)):
        home = folder / "pictures" / "abc"[number % 3]
        home.mkdir(parents=True, exist_ok=True)
        picture[:, :, number % 3] = 200
        Image.fromarray(picture).save(home / f"{number}.png")
    torch.manual_seed(0)
    kept = folder / "hub" / "models--timm--mobilenetv3_large_100.ra_in1k"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("made")
    (kept / "snapshots" / "made").mkdir(parents=True)
    weights = timm.create_model("mobilenetv3_large_100").state_dict()
    save_file(weights, kept / "snapshots" / "made" / "model.safetensors")


def for_ultralytics(folder: Path) -> None:
    from PIL import Image
    from ultralytics import YOLO

    for seed, (part, count) in enumerate((("train", 32), ("val", 4))):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "labels" / part).mkdir(parents=True)
        for number, (picture, (left, top, width)) in enumerate(pictures(count, 64, seed)):
            Image.fromarray(picture).save(folder / "images" / part / f"{number}.png")
            box = ((left + width / 2) / 64, (top + width / 2) / 64, width / 64, width / 64)
            (folder / "labels" / part / f"{number}.txt").write_text(
                f"0 {' '.join(map(str, box))}\n"
            )
    names = "train: images/train\nval: images/val\nnames:\n  0: square\n"
    (folder / "coco8.yaml").write_text(f"path: {folder}\n{names}")
    Image.fromarray(next(pictures(1, 64, 2))[0]).save(folder / "bus.jpg")
    torch.manual_seed(0)
    YOLO("yolo26n.yaml").save(folder / "yolo26n.pt")


MAKERS: dict[str, Callable[[Path], None]] = {
    "accelerate_loop": for_accelerate,
    "keras_engineers": for_keras,
    "lightning_15_minutes": for_lightning,
    "peft_lora": for_peft,
    "pytorch_quickstart": for_pytorch,
    "timm_finetune": for_timm,
    "transformers_trainer": for_the_trainer,
    "trl_sft": for_trl,
    "ultralytics_train": for_ultralytics,
}
