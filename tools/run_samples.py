"""Run the code samples of the articles and record what happens in book/results/article_samples.json.

    python tools/run_samples.py SOURCES --tensorflow PYTHON [--output FILE]

SOURCES is the folder with the text of the articles; nothing of it is copied: the record holds the SHA-256
of each sample, how it ended, its warnings, and numbers measured on its result. Each sample runs in a
fresh process and an empty namespace, with every warning recorded. PYTHON is the interpreter of an
environment with TensorFlow, made for the purpose by

    python3 -m venv ENVIRONMENT && ENVIRONMENT/bin/pip install tensorflow

Three of the articles lost their line breaks: a sample stands there on one line, its newlines turned into
spaces. `rebreak` puts them back by rule, changing white space only (the tool checks that), and the record
says of both texts whether they parse.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import keyword
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sample_java import java

RUNNER = Path(__file__).with_name("sample_runner.py")
OUTPUT = Path(__file__).resolve().parent.parent / "book" / "results" / "article_samples.json"

# Claim, section, and in which environment it runs; in the order in which the samples stand in each article.
SAMPLES: dict[str, list[tuple[str, str, str]]] = {
    "a1": [
        ("code-a1-relu-numpy", "2.1", "torch"),
        ("code-a1-sigmoid-numpy", "2.2", "torch"),
        ("code-a1-tanh-numpy", "2.3", "torch"),
        ("code-a1-leaky-relu-numpy", "2.4", "torch"),
    ],
    "a2": [("code-a2-random-init", "2.2.1", "torch"), ("code-a2-zero-init", "2.2.2", "torch")],
    "a3": [
        ("code-a3-tf-sigmoid", "1", "tensorflow"),
        ("code-a3-tf-tanh", "2", "tensorflow"),
        ("code-a3-tf-relu", "3", "tensorflow"),
        ("code-a3-tf-leaky-relu", "4", "tensorflow"),
        ("code-a3-tf-elu", "5", "tensorflow"),
        ("code-a3-tf-swish", "6", "tensorflow"),
        ("code-a3-tf-softmax", "7", "tensorflow"),
    ],
    "a4": [
        ("code-a4-xavier-and-kaiming", "4.1", "torch"),
        ("code-a4-l2loss-and-dropout", "4.2", "torch"),
        ("code-a4-hyperparameters", "4.3", "torch"),
        ("code-a4-batchnorm", "4.4", "torch"),
        ("code-a4-adaptive-activation-and-adagrad", "4.5", "torch"),
        ("code-a4-keras-cnn", "5.1", "tensorflow"),
        ("code-a4-dl4j-lstm", "5.2", "java"),
    ],
    "a5": [("code-a5-dropout-numpy", "2.2", "torch"), ("code-a5-opencv-augmentation", "2.3", "torch")],
}

FENCE = re.compile(r"```(?:python|java)\s+(.*?)\s*```", re.DOTALL)
UNFENCED = re.compile(r"(?m)^(import tensorflow as tf.*\n(?:[ -~].*\n)*)")


@dataclass(frozen=True)
class Extract:
    """The text of one sample as it stands in its article."""

    claim: str
    article: str
    section: str
    environment: str
    text: str


def extract(sources: Path) -> Iterator[Extract]:
    """Yield every sample of the articles in `sources`; one sample too many or too few is an error."""
    for article, samples in SAMPLES.items():
        files = sorted(sources.glob(f"{article}-*.txt"))
        if len(files) != 1:
            raise SystemExit(f"expected one file {article}-*.txt in {sources}, found {len(files)}")
        text = files[0].read_text(encoding="utf-8")
        found = [match.strip() for match in (UNFENCED if article == "a3" else FENCE).findall(text)]
        if len(found) != len(samples):
            raise SystemExit(f"{files[0].name}: expected {len(samples)} samples, found {len(found)}")
        for (claim, section, environment), sample in zip(samples, found, strict=True):
            yield Extract(claim, article, section, environment, sample)


def tokens(line: str) -> Iterator[str]:
    """Split flattened Python into words, strings, comments, runs of spaces, and single other characters.

    A comment runs to the last word that holds a character beyond ASCII: the comments of the articles are
    Chinese, their code is not.
    """
    pattern = re.compile(
        r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
        r"""|(?P<comment>\#(?:\s*[^\s#]*[^\x00-\x7f\s]\S*)+)|(?P<word>[\w.]+)|(?P<space>\s+)|(?P<other>.)"""
    )
    return (match.group(0) for match in pattern.finditer(line))


KEYWORDS = set(keyword.kwlist) - {"None", "True", "False"}
JOINERS = {"and", "or", "not", "in", "is", "else", "as", "lambda"}
STARTERS = {"import", "from", "def", "return", "if", "for", "while", "class", "with"}


def rebreak(text: str) -> str:
    """Put line breaks back into Python that was flattened to one line; text that has lines stays as it is.

    The rules, each of which only turns a space into a line break: a comment stands on a line of its own;
    outside brackets a new line starts where an operand (a word, string or closing bracket) is followed by
    another operand or by a word that starts a statement; the body of a function goes on indented lines
    below its header and ends with its `return`.
    """
    if "\n" in text:
        return text
    lines, line, depth, previous, indent = [], "", 0, "", ""
    for token in tokens(text):
        if token.isspace():
            line += " " if line.strip() else ""
            continue
        operand = previous[-1:].isalnum() or previous[-1:] in ("_", ")", "]", "}", '"', "'")
        starts = token[0].isalnum() or token[0] in "_\"'#" or token in STARTERS
        adjacent = operand and previous not in KEYWORDS and starts and line.endswith(" ")
        joined = adjacent and token in JOINERS
        joined = joined or (token == "import" and line.split()[:1] == ["from"])
        header = line.strip().startswith("def ") and previous == ":" and depth == 0
        if line.strip() and depth == 0 and ((adjacent and not joined) or header or previous.startswith("#")):
            lines.append(indent + line.strip())
            ended = line.strip().startswith("return")
            indent = "    " if header else "" if ended else indent
            line = ""
        line += token
        depth += (token in "([{") - (token in ")]}")
        previous = token
    return "\n".join([*lines, indent + line.strip()]) + "\n"


def parses(text: str) -> dict[str, Any]:
    """Whether Python parses a text, how many statements it finds, and otherwise what it says."""
    try:
        return {"parses": True, "statements": len(ast.parse(text).body)}
    except SyntaxError as error:
        return {"parses": False, "error": f"{type(error).__name__}: {error.msg}"}


def digest(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def run_one(sample: Extract, interpreter: str | None, context: str = "") -> dict[str, Any]:
    """Run one sample in a process of its own; `context` is the text of the sample before it."""
    record: dict[str, Any] = {
        "claim": sample.claim,
        "article": sample.article,
        "section": sample.section,
        "sha256": digest(sample.text),
    }
    if sample.environment == "java":
        return {**record, **java(sample.text)}
    text = rebreak(sample.text)
    if re.sub(r"\s", "", text) != re.sub(r"\s", "", sample.text):
        raise SystemExit(f"{sample.claim}: re-breaking changed more than white space")
    record["as_printed"] = parses(sample.text)
    record["lines_restored"] = {"changed": text != sample.text, "sha256": digest(text), **parses(text)}
    if interpreter is None:
        reason = f"no interpreter with {sample.environment} was given"
        return {
            **record,
            "outcome": "not run",
            "message": reason,
            "warnings": [],
            "versions": {},
            "checks": [],
        }
    message = json.dumps({"claim": sample.claim, "text": text, "context": rebreak(context)})
    done = subprocess.run(
        [interpreter, str(RUNNER)], input=message, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{sample.claim}: the runner failed\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**record, **result}


def main(argv: Sequence[str] | None = None) -> int:
    """Run every sample and write the record; exit status 1 when a check did not come out as expected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, help="folder with the text of the articles")
    parser.add_argument("--tensorflow", help="interpreter of an environment with TensorFlow")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the record is written")
    arguments = parser.parse_args(argv)
    interpreters = {"torch": sys.executable, "tensorflow": arguments.tensorflow}
    records, before = [], ""
    for sample in extract(arguments.sources):
        records.append(run_one(sample, interpreters.get(sample.environment), before))
        before = sample.text
        last = records[-1]
        good = sum(check["passed"] for check in last["checks"])
        print(f"{last['claim']:42} {last['outcome']:15} {good}/{len(last['checks'])} checks", flush=True)
    content = {
        "command": "python tools/run_samples.py SOURCES --tensorflow PYTHON",
        "platform": f"{platform.system()} {platform.machine()}",
        "samples": records,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(not all(check["passed"] for record in records for check in record["checks"]))


if __name__ == "__main__":
    raise SystemExit(main())
