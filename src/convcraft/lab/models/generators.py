"""Generative models: variational autoencoders, and a decoder of convolutions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convcraft._checks import check_count, check_known, check_number
from convcraft.errors import ConvcraftError
from convcraft.lab.models.networks import Activation, activation_layer


class ConvDecoder(nn.Module):
    """From latent numbers (N, latent) to images (N, 1, size, size): a linear layer to maps of a quarter of
    the size, then twice a doubling and a convolution with kernel 3.

    Doubling repeats pixels. `channels` are those of the first maps and of those between the convolutions;
    where `size` is not divisible by four, the images are cropped. Raises ConvcraftError for a size below 4.
    Source: Odena, Dumoulin and Olah (2016), Deconvolution and Checkerboard Artifacts. Chapter: Generation.

    >>> ConvDecoder(8, (32, 25), size=8)(torch.zeros(5, 8)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(self, latent: int, channels: tuple[int, int], size: int, *, activation: Activation = "relu") -> None:
        super().__init__()
        if size < 4:
            raise ConvcraftError(f"size must be 4 or more, to be halved twice; got {size}. Pass for example 8.")
        first, second = channels
        start = -(-size // 4)
        layers = (
            nn.Linear(latent, first * start**2),
            nn.Unflatten(1, (first, start, start)),
            activation_layer(activation, first),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(first, second, 3, padding=1),
            activation_layer(activation, second),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(second, 1, 3, padding=1),
        )
        self.size, self.layers = size, nn.Sequential(*(layer for layer in layers if layer is not None))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)[..., : self.size, : self.size]


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of a normal distribution from the standard one, elementwise.

    .. math:: \mathrm{KL} = \tfrac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)

    Source: Kingma and Welling (2014), Auto-Encoding Variational Bayes. Chapter: Generation.

    >>> kl_to_normal(torch.tensor([0.0, 1.0]), torch.zeros(2))
    tensor([0.0000, 0.5000])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class VAE(nn.Module):
    r"""Variational autoencoder; called with images, it returns a bound on the log-likelihood of each, (N,).

    .. math:: \log p(x) \ge \mathrm{E}_{z \sim q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \,\|\, N(0, 1)),
              \qquad z = \mu(x) + \sigma(x)\, \epsilon

    `encoder` returns :math:`\mu` and :math:`\log \sigma^2` side by side, (N, 2 latent); `decoder` the mean of each
    pixel, its output layer included. `likelihood`: "gaussian", with a standard deviation that is learned
    (`deviations`: 1 for all pixels, or one for each) or held at `deviation`; or "bernoulli", for means in [0, 1].
    One draw of z for each image. Raises ConvcraftError for an unknown likelihood, no deviations, and a deviation that
    is not above 0. Source: Kingma and Welling (2014), Auto-Encoding Variational Bayes. Chapter: Generation.

    >>> vae = VAE(nn.Linear(64, 4), nn.Linear(2, 64))
    >>> vae(torch.zeros(5, 64)).shape, vae.log_weights(torch.zeros(5, 64), 10).shape
    (torch.Size([5]), torch.Size([10, 5]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        likelihood: str = "gaussian",
        deviation: float | None = None,
        deviations: int = 1,
    ) -> None:
        super().__init__()
        check_known("likelihood", likelihood, ("gaussian", "bernoulli"))
        if deviation is not None:
            check_number("VAE", "deviation", deviation, 0, above=True, advice="pass None to learn it")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        check_count("VAE", "deviations", deviations)
        start = torch.full((deviations,), math.log(deviation or 0.3))
        learned = likelihood == "gaussian" and deviation is None
        self.log_deviation = nn.Parameter(start, requires_grad=learned)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, (N, latent) each."""
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, -1)
        return mean, log_variance

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), (N,)."""
        x, mean = x.flatten(1), self.decoder(z).flatten(1)
        if self.likelihood == "bernoulli":
            return -F.binary_cross_entropy(mean, x, reduction="none").sum(-1)
        scaled = (x - mean) * (-self.log_deviation).exp()
        return (-0.5 * scaled.square() - self.log_deviation - 0.5 * math.log(2 * math.pi)).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encode(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.log_likelihood(x, z) - kl_to_normal(mean, log_variance).sum(-1)

    def log_weights(self, x: Tensor, draws: int) -> Tensor:
        r"""log p(x, z) - log q(z|x) for some draws of z, (draws, N).

        Their mean estimates the bound; the logarithm of their mean exponential is the importance-weighted
        estimate of log p(x) (Burda, Grosse and Salakhutdinov 2016), a tighter bound.
        """
        mean, log_variance = self.encode(x)
        found = []
        for _ in range(draws):
            noise = torch.randn_like(mean)
            z = mean + (0.5 * log_variance).exp() * noise
            prior_to_q = 0.5 * (noise.square() + log_variance - z.square()).sum(-1)
            found.append(self.log_likelihood(x, z) + prior_to_q)
        return torch.stack(found)

    def sample(self, count: int, latent: int, *, noise: bool = False) -> Tensor:
        """Images from z drawn from N(0, 1): the means, (count, ...), or with `noise` draws of the pixels."""
        mean = self.decoder(torch.randn(count, latent))
        if not noise:
            return mean
        if self.likelihood == "bernoulli":
            return torch.bernoulli(mean)
        return mean + self.log_deviation.exp() * torch.randn_like(mean)
