"""MNIST and Fashion-MNIST: 70,000 grayscale images each, of handwritten digits and of clothes; see
`idx`.

The hashes are those of TensorFlow Datasets; torchvision checks the MD5s of the same files.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms" (2017), https://github.com/zalandoresearch/fashion-mnist.
"""

from minivit.data.download import Expected
from minivit.data.idx import Idx
from minivit.data.source import Source

COUNTS = {"train": 60_000, "t10k": 10_000}

MNIST = Idx(
    name="MNIST",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    # the authors' own server refuses downloads
    url_variable="MINIVIT_MNIST_URL",
    folders=("mnist", "MNIST/raw"),
    counts=COUNTS,
    expected={
        "train-images-idx3-ubyte": Expected(
            9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        "train-labels-idx1-ubyte": Expected(
            28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        "t10k-images-idx3-ubyte": Expected(
            1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        "t10k-labels-idx1-ubyte": Expected(
            4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    },
    class_names=tuple("0123456789"),
)
FASHION = Idx(
    name="Fashion-MNIST",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    url_variable="MINIVIT_FASHION_MNIST_URL",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    counts=COUNTS,
    expected={
        "train-images-idx3-ubyte": Expected(
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte": Expected(
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte": Expected(
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte": Expected(
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)

RECIPE = {
    "image_size": 28,
    "in_channels": 1,
    "pool": "mean",
    "pos_embed": "sincos2d",
    "activation": "gelu_tanh",
    "epochs": 10,
    "optimizer": "muon",
    "lr": 2.5e-3,
    "warmup": 0.5,
    "betas": (0.9, 0.95),
    "crop": 2,
}
"""CIFAR-10's basic settings with fewer epochs and smaller shifts, as there is less to learn; not
measured.
"""

SOURCES = (
    Source(
        name="mnist",
        summary="MNIST: 70,000 grayscale images of handwritten digits",
        load=MNIST.load_for,
        find=MNIST.find,
        recipe={**RECIPE, "flip": 0.0},  # a mirrored digit is not a digit
    ),
    Source(
        name="fashion-mnist",
        summary="Fashion-MNIST: 70,000 grayscale images of ten kinds of clothes",
        load=FASHION.load_for,
        find=FASHION.find,
        recipe=RECIPE,
    ),
)
