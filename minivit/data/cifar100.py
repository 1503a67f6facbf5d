"""CIFAR-100: 60,000 images of 32×32 pixels in 100 classes, or in 20; see `cifar`.

The archives' SHA-256 are those that TensorFlow Datasets (binary) and Keras (Python) check.
"""

from dataclasses import replace

from minivit.data.cifar import Cifar, Labels, Layout
from minivit.data.download import Expected
from minivit.data.source import Source

_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""
_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
COARSE_NAMES, FINE_NAMES = tuple(_COARSE.split()), tuple(_FINE.split())
BINARY = Layout(
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    expected=Expected(
        168_513_733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
    ),
    suffix=".bin",
    metas=("coarse_label_names.txt", "fine_label_names.txt"),
    md5={},
)
PYTHON = Layout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    expected=Expected(
        169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    ),
    suffix="",
    metas=("meta",),
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
)
COARSE = Cifar(
    name="CIFAR-100 coarse",
    url_variable="MINIVIT_CIFAR100_URL",
    batches={"train": 50_000, "test": 10_000},
    labels=(
        Labels("coarse_labels", "coarse_label_names.txt", "coarse_label_names", COARSE_NAMES),
        Labels("fine_labels", "fine_label_names.txt", "fine_label_names", FINE_NAMES),
    ),
    binary=BINARY,
    python=PYTHON,
    max_file_size=1 << 28,  # the training batch is 154 MB
)
FINE = replace(COARSE, name="CIFAR-100", kind=1)

RECIPE = {
    "pool": "mean",
    "pos_embed": "sincos2d",
    "activation": "gelu_tanh",
    "epochs": 40,
    "optimizer": "muon",
    "lr": 2.5e-3,
    "warmup": 0.5,
    "betas": (0.9, 0.95),
}
"""CIFAR-10's basic settings with more epochs, as each class has a tenth of the images; not
measured.
"""

SOURCES = (
    Source(
        name="cifar100",
        summary="CIFAR-100: 60,000 images of 100 classes",
        load=FINE.load_for,
        find=FINE.find,
        recipe=RECIPE,
    ),
    Source(
        name="cifar100-coarse",
        summary="CIFAR-100 by its 20 coarse classes",
        load=COARSE.load_for,
        find=COARSE.find,
        recipe=RECIPE,
    ),
)
