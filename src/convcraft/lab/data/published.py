"""What has been published: size, SHA-256 and addresses of every file that the book reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its size in bytes, its SHA-256, and the addresses that serve it, in order.

    An address that ends in `#member` is that of a zip archive which holds the file under this name.
    """

    size: int
    sha256: str
    addresses: tuple[str, ...] = ()


def _files(table: str, *bases: str, form: str = "{}") -> dict[str, RemoteFile]:
    """One file for each line "name size sha256", at the bases in order; `form` makes a path of the name."""
    rows = (line.split() for line in table.strip().splitlines())
    named = ((form.format(name), int(size), sha256) for name, size, sha256 in rows)
    return {
        name: RemoteFile(size, sha256, tuple(base + name for base in bases)) for name, size, sha256 in named
    }


FASHION_MNIST = _files(
    """
    train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
    train-labels-idx1-ubyte.gz 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
    t10k-images-idx3-ubyte.gz 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
    t10k-labels-idx1-ubyte.gz 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
    """,
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)

MSWEB = _files(
    "anonymous-msweb.data 1423095 7963254588a0e8e0c25e7b5dfed6607a01a1efe5addef5774efa90bb973e0d3b",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/anonymous/",
    "https://archive.ics.uci.edu/static/public/4/anonymous+microsoft+web+data.zip#",
)

#: the same visits as two tables, served by nobody: read where `CONVCRAFT_DATA` holds them
MSWEB_TABLES = _files(
    """
    visits.csv 828119 2779443449268d2427f6b98dc1babca1b31a209f9e89efe0065dfe25d32976bc
    areas.csv 6413 3d35d1b32d65e213901a15492757c53b72a89ea7e33f786ef3a31119e664eaab
    """
)

MOVIELENS = _files(
    """
    ratings.csv 2483723 aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646
    movies.csv 494431 5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07
    README.txt 8343 caa1eb1d1d113578e9dbb36b37398404e00f379492b7aa31df0b30c855017095
    """,
    "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip#ml-latest-small/",
)

_NAB = "https://raw.githubusercontent.com/numenta/NAB/ea702d75cc2258d9d7dd35ca8e5e2539d71f3140/"
_KNOWN_CAUSE = """
ambient_temperature_system_failure 233321 230b68ccca20f59d562afd5d24ad52939c9b784386bed0054018358bf9120581
cpu_utilization_asg_misconfiguration 539274 58ba65dc0737cfbac11b51514476d50c438d44011232144bb8d93f392df58f9f
ec2_request_latency_system_failure 123428 98378580aa80157e057c61d59d81daddccc6c65a2c0c800e3f01f603b8215c3f
machine_temperature_system_failure 732223 92bf5b87fc7f9bba8ca0b7ec63ccaac8cb4a1371a258e8c29a10ae9c018d82a4
nyc_taxi 265771 d8fa6f7f0734bf5c8be12c52a94e20a82664c397d9dec4449156bd453d32856d
rogue_agent_key_hold 55527 47b110baa8e3636574c1033dda1cce780873647fab58223d159d4fee6f180e86
rogue_agent_key_updown 138333 9797cfef477c13306f7a33874ab4d6cf700f8f2c7e5825a2a5bc02004370909a
"""
_ARTIFICIAL = """
art_daily_flatmiddle 140292 ea5df125947e9ee2b977ac3d341f3c2a029588862af97cae4a654fc56e838702
art_daily_jumpsdown 140814 4af31802e87dff4b4ba3ceb21714ba9d905f7888e1f53d47cc6dd4f856f9debc
art_daily_jumpsup 140548 f79f92b93ee4f9c10e2dc552505e8880b0c618639ed5e0f9816e044b75c26456
art_daily_nojump 140478 65c85d1834376ed5e622f01721d478609577ea0df0a067c5a5ebe5edea03b077
art_increase_spike_density 96869 0959d8871d5c1a3fc3120fb7421e4ef113fffb434af2889085b52aebdb69360c
art_load_balancer_spikes 101603 99f7130e54c7c3e818df8e3bdc0974cd241914bb14a10a9c3fa7c1374125d224
"""

NAB = {
    **_files(
        "labels/combined_windows.json 15359 1e1fbc4601321aad8d0f8b3784c8134299379f68f6c1f7777565f8ffd57ab6b1",
        _NAB,
    ),
    **_files(_KNOWN_CAUSE, _NAB, form="data/realKnownCause/{}.csv"),
    **_files(_ARTIFICIAL, _NAB, form="data/artificialWithAnomaly/{}.csv"),
}

REGISTRY: dict[str, dict[str, RemoteFile]] = {
    "fashion-mnist": FASHION_MNIST,
    "msweb": {**MSWEB, **MSWEB_TABLES},
    "movielens-latest-small": MOVIELENS,
    "nab": NAB,
}
