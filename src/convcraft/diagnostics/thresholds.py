"""When a number is a finding: every limit that `diagnose` uses, with its reason and its source.

>>> from convcraft.diagnostics import thresholds
>>> thresholds.UPDATE_USUAL
0.001
"""

# Values and units

#: An output is saturated beyond this share of its limit: there the slope of tanh, 1 - 0.975^2, and that of the sigmoid
#: are below a twentieth of their largest. Glorot and Bengio (2010) follow saturation layer by layer.
SATURATED = 0.975
#: A layer with more saturated values than this is reported. A normal input of standard deviation 1.5, which
#: is wide already, saturates tanh in 15 % of the cases, one of standard deviation 3 in 47 %.
SATURATED_WARNING = 0.4
#: Most of the layer no longer passes a gradient.
SATURATED_SEVERE = 0.7
#: Some units of a healthy rectifier layer are silent on one batch at the start, and more of them the deeper
#: the layer, because the examples become alike on the way: up to a third after twelve layers of He's weights.
DEAD_WARNING = 0.4
#: Far more than half of the layer is lost: a much narrower layer would do as well.
DEAD_SEVERE = 0.7
#: With fewer values per unit than this, silence can be chance: a unit that is active on one input in twenty is
#: silent on 100 with probability 0.95^100 = 0.006, on 32 with 0.2.
DEAD_SEEN = 100

# Signals through depth

#: Ratio of the activations' spread between first and last hidden layer, either way. One order of magnitude
#: still trains: torch's default initialization takes a factor of 20 in three layers of GELU. He, Zhang, Ren
#: and Sun (2015) show a network of 30 layers that a factor of 10^4 keeps from training.
DRIFT_WARNING = 30.0
#: The factor of that network.
DRIFT_SEVERE = 1e4
#: Number of layers below which a network is too shallow to drift.
DRIFT_LAYERS = 3
#: Ratio of the gradient's norm between the first and the last hidden layer. Below a thousandth the first
#: layers learn a thousand times slower than the last: Glorot and Bengio (2010), Hochreiter (1991).
VANISHING_WARNING = 1e-3
#: In float32 with weights of size one, updates a million times smaller are near the last digit.
VANISHING_SEVERE = 1e-6
#: The other way round: Pascanu, Mikolov and Bengio (2013).
EXPLODING_WARNING = 1e3
#: A learning rate that suits the last layer is a million times too large for the first.
EXPLODING_SEVERE = 1e6
#: Norm of all gradients together over the norm of all weights: beyond it a step at any usual rate (0.01)
#: moves the weights farther than they are from zero.
GRADIENT_NORM_SEVERE = 100.0

# Weights

#: Factor by which activations or gradients are predicted to change between the first and the last layer, from
#: the weights' variance and the activation alone (the variance map of the chapter on initialization); the
#: same limit as for the drift itself.
MISMATCH_WARNING = 30.0
#: Rows of a weight matrix that differ by less than this, relative to the largest entry, are copies.
SYMMETRIC = 1e-6

# Loss and data

#: Nats by which the loss of an untrained classifier may exceed that of a uniform guess. Logits of standard deviation s
#: cost about s^2/2 more; two nats are s = 2. The check is that of Karpathy (2015), CS231n notes 3.
INITIAL_LOSS_NOTE = 2.0
#: Behind max pooling the usual scales alone reach four nats; s = 3 is 4.5.
INITIAL_LOSS_WARNING = 4.5
#: Multiple of the loss of a uniform guess: the first steps only undo the initialization.
INITIAL_LOSS_SEVERE = 5.0
#: A loss below this share of a uniform guess's was learned: the model is no longer at its initialization.
LEARNED = 0.7
#: Rows that sum to one, and whose logarithms do, within this tolerance are probabilities.
PROBABILITIES = 1e-3
#: Standard deviation of an input: LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp, ask for mean 0
#: and variance 1. Pixels in [0, 1] have about 0.3, and train; bytes have 70 and do not.
INPUT_STD = (0.05, 5.0)
#: Beyond these the first layer works at a scale for which no usual initialization or rate is made.
INPUT_STD_SEVERE = (1e-3, 50.0)
#: Distance of an input's mean from zero in standard deviations; pixels in [0, 1] reach 2.
INPUT_SHIFT = 3.0
#: Ratio of the largest to the smallest standard deviation of the input's features.
INPUT_RATIO = 100.0

#: Share of the targets that the output's activation cannot reach: a few may be errors of the data.
OUT_OF_REACH_WARNING = 0.005
#: Far more than errors: the targets are of another scale.
OUT_OF_REACH_SEVERE = 0.05

# Normalization

#: Number of examples below which batch statistics are noise: Wu and He (2018), Group Normalization, Figure 1, where the
#: error begins to rise below 16 images and has risen by 10 points at 2.
BATCH_SMALL = 8
#: Two examples: a channel of a linear layer is then always plus or minus one.
BATCH_SEVERE = 2
#: Distance between the running and the batch's mean in the batch's standard deviations, and ratio of the variances
#: either way, both averaged over channels. A batch of 32 independent values differs by 0.18 and 1.3.
RUNNING_SHIFT = 1.0
#: The same for the variances: a factor of two in the standard deviation.
RUNNING_RATIO = 4.0
#: Relative difference of outputs that must be equal up to rounding.
OUTPUT_TOLERANCE = 1e-3

#: A difference between the modes is sampling, and not a mistake, up to this multiple of the difference
#: between two passes in training mode, which is sqrt(2) times that between a sample and the mean.
SAMPLING = 3.0
#: Standard deviation of a query's scores over its keys at the start. Queries and keys of unit variance have
#: 1, by the division by the square root of their size (Vaswani et al., 2017, section 3.2.1); at 2, half of
#: the queries put most of their weight on one of eight keys.
ATTENTION_WARNING = 2.0
#: Without that division, keys of 64 values have 8: attention is a choice that no gradient can change.
ATTENTION_SEVERE = 6.0
#: Ratio of the gradient at the first step of a sequence to the largest, as for depth.
TIME_NOTE = 1e-3
#: A forget gate of 1/2, as an LSTM starts with, loses a factor of 1,000 in ten steps: it is a warning where
#: nothing is left in float32.
TIME_WARNING = 1e-6

# Steps

#: Change of the weights in one step over the weights: about 1e-3, Karpathy (2015), CS231n notes 3.
UPDATE_USUAL = 1e-3
#: Two orders of magnitude above; the first step of Adam alone reaches several per cent.
UPDATE_LARGE = 0.2
#: One step replaces the weights.
UPDATE_SEVERE = 1.0
#: Two orders of magnitude below the usual.
UPDATE_SMALL = 1e-5
#: Gradient over weights below which no usual rate moves a weight in float32, whose last digit is at 6e-8.
SLOPE = 1e-6
#: Of a model that has learned, whose gradient is small: the last digit of float32.
UPDATE_SMALL_TRAINED = 1e-8
#: By how much a step may raise the loss that it was made for, in multiples of that loss, or of a tenth of what a
#: constant guess costs where that is more: momentum and noise raise it now and then, and do not double it.
RISE_WARNING = 1.0
#: The step has thrown the model away.
RISE_SEVERE = 10.0
#: Cosine between gradient and step of a fresh optimizer beyond which the step goes up the gradient; that of
#: descent is -1, of Adam's first step about -0.8.
UPHILL = 0.1
