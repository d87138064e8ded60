"""Nonlinear regression sets with certified answers, from NIST's Statistical Reference Datasets (StRD).

National Institute of Standards and Technology, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml: data, both
starting points, parameters certified to eleven digits and the residual sum of squares at them. Of the 27 sets these are
those with fewer than 40 rows and a residual that rounding does not rule (the Lanczos sets are exact to six digits).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

Array = np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class NistSet:
    """One set.

    Attributes:
        level: NIST's level of difficulty: lower, average or higher.
        model: (x, shape (n,); then the parameters, each of shape (m, 1)) -> predictions, shape (m, n).
        x: predictor, shape (n,).
        y: response, shape (n,).
        starts: NIST's two starting points, far and near, shape (2, k).
        certified: parameters, shape (k,).
        certified_rss: residual sum of squares at them.
    """

    level: str
    model: Callable[..., Array]
    x: Array
    y: Array
    starts: Array
    certified: Array
    certified_rss: float


def numbers(text: str) -> Array:
    return np.array(text.split(), dtype=float)


PRESSURE = numbers("77.6 114.9 141.1 190.8 239.9 289.0 332.8 378.4 434.8 477.3 536.8 593.1 689.1 760.0")
VOLUME = numbers("10.07 14.73 17.94 23.93 29.61 35.18 40.02 44.82 50.76 55.05 61.01 66.40 75.47 81.78")

SETS = {
    "Misra1a": NistSet(
        level="lower",
        model=lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
        x=PRESSURE,
        y=VOLUME,
        starts=np.array([[500, 0.0001], [250, 0.0005]]),
        certified=np.array([2.3894212918e02, 5.5015643181e-04]),
        certified_rss=1.2455138894e-01,
    ),
    "Misra1b": NistSet(
        level="lower",
        model=lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
        x=PRESSURE,
        y=VOLUME,
        starts=np.array([[500, 0.0001], [300, 0.0002]]),
        certified=np.array([3.3799746163e02, 3.9039091287e-04]),
        certified_rss=7.5464681533e-02,
    ),
    "Misra1c": NistSet(
        level="average",
        model=lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
        x=PRESSURE,
        y=VOLUME,
        starts=np.array([[500, 0.0001], [600, 0.0002]]),
        certified=np.array([6.3642725809e02, 2.0813627256e-04]),
        certified_rss=4.0966836971e-02,
    ),
    "Misra1d": NistSet(
        level="average",
        model=lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
        x=PRESSURE,
        y=VOLUME,
        starts=np.array([[500, 0.0001], [450, 0.0003]]),
        certified=np.array([4.3736970754e02, 3.0227324449e-04]),
        certified_rss=5.6419295283e-02,
    ),
    "DanWood": NistSet(
        level="lower",
        model=lambda x, b1, b2: b1 * x**b2,
        x=numbers("1.309 1.471 1.490 1.565 1.611 1.680"),
        y=numbers("2.138 3.421 3.597 4.340 4.882 5.660"),
        starts=np.array([[1, 5], [0.7, 4]]),
        certified=np.array([7.6886226176e-01, 3.8604055871e00]),
        certified_rss=4.3173084083e-03,
    ),
    "MGH17": NistSet(
        level="average",
        model=lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
        x=10.0 * np.arange(33),
        y=numbers("""
            0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 0.603 0.580
            0.558 0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406
        """),
        starts=np.array([[50, 150, -100, 1, 2], [0.5, 1.5, -1, 0.01, 0.02]]),
        certified=np.array([3.7541005211e-01, 1.9358469127e00, -1.4646871366e00, 1.2867534640e-02, 2.2122699662e-02]),
        certified_rss=5.4648946975e-05,
    ),
    "Rat42": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
        x=numbers("9 14 21 28 42 57 63 70 79"),
        y=numbers("8.930 10.800 18.590 22.330 39.350 56.110 61.730 64.620 67.080"),
        starts=np.array([[100, 1, 0.1], [75, 2.5, 0.07]]),
        certified=np.array([7.2462237576e01, 2.6180768402e00, 6.7359200066e-02]),
        certified_rss=8.0565229338e00,
    ),
    "Rat43": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
        x=1.0 + np.arange(15),
        y=numbers("""
            16.08 33.83 65.80 97.20 191.55 326.20 386.87 520.53 590.03 651.92 724.93 699.56 689.96 637.56 717.41
        """),
        starts=np.array([[100, 10, 1, 1], [700, 5, 0.75, 1.3]]),
        certified=np.array([6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00]),
        certified_rss=8.7864049080e03,
    ),
    "MGH09": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
        x=numbers("4 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625"),
        y=numbers("0.1957 0.1947 0.1735 0.1600 0.0844 0.0627 0.0456 0.0342 0.0323 0.0235 0.0246"),
        starts=np.array([[25, 39, 41.5, 39], [0.25, 0.39, 0.415, 0.39]]),
        certified=np.array([1.9280693458e-01, 1.9128232873e-01, 1.2305650693e-01, 1.3606233068e-01]),
        certified_rss=3.0750560385e-04,
    ),
    "MGH10": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
        x=50.0 + 5.0 * np.arange(16),
        y=numbers("34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872"),
        starts=np.array([[2, 400000, 25000], [0.02, 4000, 250]]),
        certified=np.array([5.6096364710e-03, 6.1813463463e03, 3.4522363462e02]),
        certified_rss=8.7945855171e01,
    ),
    "Eckerle4": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
        x=np.concatenate([400 + 5.0 * np.arange(7), 435 + 1.5 * np.arange(20), 465 + 5.0 * np.arange(8)]),
        y=numbers("""
            0.0001575 0.0001699 0.0002350 0.0003102 0.0004917 0.0008710 0.0017418 0.0046400 0.0065895 0.0097302
            0.0149002 0.0237310 0.0401683 0.0712559 0.1264458 0.2073413 0.2902366 0.3445623 0.3698049 0.3668534
            0.3106727 0.2078154 0.1164354 0.0616764 0.0337200 0.0194023 0.0117831 0.0074357 0.0022732 0.0008800
            0.0004579 0.0002345 0.0001586 0.0001143 0.0000710
        """),
        starts=np.array([[1, 10, 500], [1.5, 5, 450]]),
        certified=np.array([1.5543827178e00, 4.0888321754e00, 4.5154121844e02]),
        certified_rss=1.4635887487e-03,
    ),
    "BoxBOD": NistSet(
        level="higher",
        model=lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
        x=numbers("1 2 3 5 7 10"),
        y=numbers("109 149 149 191 213 224"),
        starts=np.array([[1, 1], [100, 0.75]]),
        certified=np.array([2.1380940889e02, 5.4723748542e-01]),
        certified_rss=1.1680088766e03,
    ),
    "Thurber": NistSet(
        level="higher",
        model=lambda x, b1, b2, b3, b4, b5, b6, b7: (
            (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)
        ),
        x=numbers("""
            -3.067 -2.981 -2.921 -2.912 -2.840 -2.797 -2.702 -2.699 -2.633 -2.481 -2.363 -2.322 -1.501 -1.460 -1.274
            -1.212 -1.100 -1.046 -0.915 -0.714 -0.566 -0.545 -0.400 -0.309 -0.109 -0.103 0.010 0.119 0.377 0.790 0.963
            1.006 1.115 1.572 1.841 2.047 2.200
        """),
        y=numbers("""
            80.574 84.248 87.264 87.195 89.076 89.608 89.868 90.101 92.405 95.854 100.696 101.060 401.672 390.724
            567.534 635.316 733.054 759.087 894.206 990.785 1090.109 1080.914 1122.643 1178.351 1260.531 1273.514
            1288.339 1327.543 1353.863 1414.509 1425.208 1421.384 1442.962 1464.350 1468.705 1447.894 1457.628
        """),
        starts=np.array([[1000, 1000, 400, 40, 0.7, 0.3, 0.03], [1300, 1500, 500, 75, 1, 0.4, 0.05]]),
        certified=np.array(
            [
                1.2881396800e03,
                1.4910792535e03,
                5.8323836877e02,
                7.5416644291e01,
                9.6629502864e-01,
                3.9797285797e-01,
                4.9727297349e-02,
            ]
        ),
        certified_rss=5.6427082397e03,
    ),
}
