"""The sampling settings of all components that draw completions at one temperature."""

from __future__ import annotations

from dataclasses import replace

from lineal.components.base import Component
from lineal.components.generators.stopping import StopSetting, stop_texts
from lineal.components.generators.temperatures import Temperature, TopK, TopP
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.recipe.compute import Positive


class Draws(Component):
    """Base of components that draw completions at one temperature.

    Attributes:
        temperature, top_p, top_k, max_tokens, chat: as for `sample`.
    """

    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    max_tokens: Positive = 64
    chat: bool = False

    @property
    def sampling(self) -> SamplingSettings:
        """The engine's sampling settings."""
        return SamplingSettings(self.temperature, self.top_p, self.top_k, self.max_tokens, self.chat)


class StoppedDraws(Draws):
    """Base of components that draw completions with stop texts.

    Attributes:
        stop: as for `sample`.
    """

    stop: StopSetting = None

    @property
    def sampling(self) -> SamplingSettings:
        return replace(super().sampling, stop=stop_texts(self.stop))
