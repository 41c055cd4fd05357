"""Variational autoencoders: their bound, their estimates, and what they equal without an activation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.decomposition import PCA
from torch import nn

from convcraft import ConvcraftError
from convcraft.lab import models
from convcraft.lab.statistics import frechet_distance


def exact(x, weight, mean, deviation):
    """log p(x) of a linear decoder: a normal distribution."""
    covariance = weight @ weight.T + deviation**2 * torch.eye(len(weight))
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


def ppca(x, latent):
    """The linear autoencoder whose decoder is PPCA's and whose encoder is its best one with independent z."""
    found = PCA(latent, svd_solver="full").fit(x.numpy())
    variance = found.noise_variance_
    scale = np.sqrt(found.explained_variance_ - variance)
    weight = torch.from_numpy(found.components_.T * scale)
    vae = models.VAE(nn.Linear(x.shape[1], 2 * latent), nn.Linear(latent, x.shape[1])).double()
    precision = scale**2 + variance
    to_z = torch.from_numpy(found.components_ * (scale / precision)[:, None])
    mean = torch.from_numpy(found.mean_)
    with torch.no_grad():
        vae.decoder.weight.copy_(weight)
        vae.decoder.bias.copy_(mean)
        vae.encoder.weight.zero_()
        vae.encoder.weight[:latent] = to_z
        vae.encoder.bias[:latent] = -to_z @ mean
        vae.encoder.bias[latent:] = torch.from_numpy(np.log(variance / precision))
        vae.log_deviation.fill_(0.5 * math.log(variance))
    return vae, found


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    z = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    return z @ mix + 0.3 * torch.randn(400, 6, generator=generator, dtype=torch.float64)


def test_without_an_activation_its_bound_is_ppca(x):
    """With the exact posterior every draw of z gives the log-likelihood itself."""
    vae, found = ppca(x, 3)
    with torch.no_grad():
        weights = vae.log_weights(x, 3)
    expected = torch.from_numpy(found.score_samples(x.numpy()))
    torch.testing.assert_close(weights, expected.expand(3, -1), rtol=0, atol=1e-8)
    with torch.no_grad():
        assert abs(float(vae(x).mean()) - found.score(x.numpy())) < 0.2


def test_more_draws_lead_towards_the_likelihood():
    torch.manual_seed(0)
    vae = models.VAE(nn.Linear(5, 4), nn.Linear(2, 5), deviation=1.0)
    x = torch.randn(50, 5)
    with torch.no_grad():
        weights = vae.log_weights(x, 4000)
        truth = exact(x, vae.decoder.weight, vae.decoder.bias, float(vae.log_deviation.exp()))
        bound, weighted = weights.mean(0), weights.logsumexp(0) - math.log(4000)
        draws = torch.stack([vae(x) for _ in range(2000)]).mean(0)
    assert (bound < truth).all() and (weighted > bound).all()
    assert float((weighted - truth).abs().mean()) < 0.1 * float((truth - bound).mean())
    assert abs(float((draws - bound).mean())) < 0.05


def test_bernoulli_sums_to_one_and_samples_are_pixels():
    vae = models.VAE(nn.Linear(2, 2), nn.Sequential(nn.Linear(1, 2), nn.Sigmoid()), likelihood="bernoulli")
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    z = torch.full((4, 1), 0.7)
    assert float(vae.log_likelihood(x, z).exp().sum().detach()) == pytest.approx(1, abs=1e-6)
    drawn = vae.sample(20, 1, noise=True)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0} and not vae.log_deviation.requires_grad


def test_a_deviation_can_be_held_or_belong_to_each_pixel():
    net = lambda **kw: models.VAE(nn.Linear(4, 2), nn.Linear(1, 4), **kw)  # noqa: E731
    held, each = net(deviation=2.0), net(deviations=4)
    assert not held.log_deviation.requires_grad and each.log_deviation.shape == (4,)
    assert float(held.log_deviation.exp()) == pytest.approx(2)
    torch.manual_seed(0)
    spread = held.sample(5000, 1, noise=True) - held.sample(1, 1)
    assert spread[:, 0].std().item() > 1.9


@pytest.mark.parametrize("size", [8, 14, 28])
def test_a_convolutional_decoder_makes_images(size):
    assert models.ConvDecoder(3, (4, 2), size, activation=None)(torch.zeros(2, 3)).shape == (2, 1, size, size)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: models.VAE(nn.Identity(), nn.Identity(), likelihood="gausian"), "did you mean 'gaussian'"),
        (lambda: models.VAE(nn.Identity(), nn.Identity(), deviation=0.0), "deviation must be a finite number above 0"),
        (lambda: models.VAE(nn.Identity(), nn.Identity(), deviations=0), "deviations"),
        (lambda: models.ConvDecoder(8, (4, 2), 3), "size must be 4 or more"),
        (lambda: frechet_distance([[1.0]], [[1.0], [2.0]]), "two rows or more"),
        (lambda: frechet_distance([[1.0], [math.nan]], [[1.0], [2.0]]), "finite"),
        (lambda: frechet_distance([1.0, 2.0], [1.0, 2.0]), "tables"),
    ],
)
def test_misuse_is_named(call, said):
    with pytest.raises(ConvcraftError, match=said):
        call()


def test_frechet_distance_is_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 4)), rng.standard_normal((200, 4)) @ rng.standard_normal((4, 4)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert abs(frechet_distance(a, a)) < 1e-9
