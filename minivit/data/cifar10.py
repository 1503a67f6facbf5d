"""CIFAR-10: 60,000 images of 32×32 pixels in ten classes; see `cifar`."""

from minivit.data.cifar import Cifar, Labels, Layout
from minivit.data.download import Expected
from minivit.data.source import Source

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BINARY = Layout(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    expected=Expected(
        170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    ),
    suffix=".bin",
    metas=("batches.meta.txt",),
    md5={},
)
PYTHON = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    expected=Expected(
        170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    ),
    suffix="",
    metas=("batches.meta",),
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3fb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)
CIFAR10 = Cifar(
    name="CIFAR-10",
    url_variable="MINIVIT_CIFAR10_URL",
    batches=dict.fromkeys((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), 10_000),
    labels=(Labels("labels", "batches.meta.txt", "label_names", CLASS_NAMES),),
    binary=BINARY,
    python=PYTHON,
    max_file_size=1 << 26,  # a batch has 31 MB
)

SOURCE = Source(
    name="cifar10",
    summary="CIFAR-10: 60,000 images of ten classes of animals and vehicles",
    load=CIFAR10.load_for,
    find=CIFAR10.find,
    recipe={
        "pool": "mean",
        "pos_embed": "sincos2d",
        "activation": "gelu_tanh",
        "epochs": 19,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": 0.5,
        "betas": (0.9, 0.95),
    },
)
