"""How the world looks today: light, sky, weather, ground colours, lens. Drawn from a seed, or pinned.

In: a seed and any fields to hold fixed. Out: a frozen `Appearance`, all a camera needs beside the scene itself,
its `light()` vector colours and its `fog()` curve. Colours are display-referred RGB, 0..1. The ranges are
guesses by eye, wide enough for domain randomisation (Tobin et al. 2017, arXiv 1703.06907); no photometry.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Colour = tuple[float, float, float]

WEATHERS = ("clear", "overcast", "dusk", "fog", "rain", "night")
WEATHER_SHARE = (0.44, 0.22, 0.12, 0.07, 0.09, 0.06)  # how often a seed gives each


@dataclass(frozen=True)
class Appearance:
    """Every look of a drive. `seed` also drives the pictures' noise, the clouds and colours of things without one."""

    seed: int = 0
    weather: str = "clear"
    sun_azimuth: float = 0.9  # rad from map x, left positive
    sun_elevation: float = 0.75  # rad
    sun: Colour = (0.80, 0.76, 0.66)  # light that casts shadows
    ambient: Colour = (0.42, 0.45, 0.51)  # light of the sky
    zenith: Colour = (0.20, 0.42, 0.78)
    horizon: Colour = (0.74, 0.84, 0.93)
    cloud: float = 0.45  # share of sky
    fog_density: float = 0.0011  # 1/m of depth
    rain: float = 0.0  # 0..1
    wet: float = 0.0  # 0..1, how much the road mirrors
    night: float = 0.0  # 0..1: lamps and windows lit, own low beam
    asphalt: Colour = (0.33, 0.33, 0.345)
    grass: Colour = (0.29, 0.40, 0.16)
    pavement: Colour = (0.60, 0.58, 0.55)
    white_paint: Colour = (0.93, 0.93, 0.91)
    yellow_paint: Colour = (0.93, 0.70, 0.16)
    wear: float = 0.25  # share of paint worn off
    grain: float = 0.10  # amplitude of the ground's grain
    exposure: float = 1.18
    vignette: float = 0.15  # darkening of the corners
    noise: float = 1.8  # grey levels, one standard deviation
    lens_blur: float = 0.45  # px, standard deviation
    shutter: float = 1 / 120  # s, motion blur of the ground

    def __post_init__(self) -> None:
        if self.weather not in WEATHERS:
            raise ValueError(f"weather {self.weather!r} is none of {WEATHERS}")

    @classmethod
    def clear_day(cls) -> Appearance:
        """A pleasant summer morning."""
        return cls()

    @classmethod
    def from_seed(cls, seed: int, **pinned: object) -> Appearance:
        """An appearance drawn from `seed`; fields given by name keep that value (a pinned `weather` shapes the rest).

        Raises TypeError for a name that is no field.
        """
        unknown = set(pinned) - {f.name for f in fields(cls)}
        if unknown:
            raise TypeError(f"no such appearance field: {sorted(unknown)}")
        rng = np.random.default_rng([seed, 0xCA3])
        drawn = str(rng.choice(WEATHERS, p=WEATHER_SHARE))
        look = _draw(rng, seed, str(pinned.get("weather", drawn)))
        return replace(look, **pinned)  # type: ignore[arg-type]  # names are checked above

    def sun_direction(self) -> Float[Array, "3"]:
        """Unit vector to the sun, map axes."""
        c = np.cos(self.sun_elevation)
        return np.array([c * np.cos(self.sun_azimuth), c * np.sin(self.sun_azimuth), np.sin(self.sun_elevation)])

    def fog_colour(self) -> Float[Array, "3"]:
        """What distance fades to: the horizon, greyed."""
        horizon = np.array(self.horizon)
        return 0.85 * horizon + 0.15 * horizon.mean()

    def fog_curve(self) -> Float[Array, "4096"]:
        """Transmittance at each whole metre of depth (Beer-Lambert)."""
        return np.exp(-self.fog_density * np.arange(4096))


def _draw(rng: np.random.Generator, seed: int, weather: str) -> Appearance:
    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def tint(colour: tuple, spread: float, brightness: float) -> Colour:
        gain = between(1 - brightness, 1 + brightness)
        return tuple(float(np.clip(c * gain * between(1 - spread, 1 + spread), 0, 1)) for c in colour)  # type: ignore[return-value]  # three in

    look = Appearance(
        seed=seed,
        weather=weather,
        sun_azimuth=between(-np.pi, np.pi),
        sun_elevation=between(0.35, 1.2),
        sun=tint((0.80, 0.75, 0.65), 0.06, 0.15),
        ambient=tint((0.42, 0.45, 0.51), 0.06, 0.15),
        zenith=tint((0.20, 0.42, 0.76), 0.15, 0.2),
        horizon=tint((0.74, 0.83, 0.92), 0.05, 0.08),
        cloud=between(0.0, 0.7),
        fog_density=between(0.0004, 0.002),
        asphalt=tint((0.33, 0.33, 0.34), 0.06, 0.35),
        grass=tint(((0.29, 0.40, 0.16), (0.44, 0.42, 0.20), (0.52, 0.45, 0.30))[int(rng.choice(3, p=(0.65, 0.25, 0.1)))], 0.1, 0.2),
        pavement=tint((0.58, 0.56, 0.53), 0.06, 0.2),
        white_paint=tint((0.90, 0.90, 0.88), 0.02, 0.1),
        yellow_paint=tint((0.92, 0.68, 0.15), 0.08, 0.1),
        wear=between(0.0, 0.6),
        grain=between(0.04, 0.18),
        exposure=between(0.85, 1.15),
        vignette=between(0.05, 0.35),
        noise=between(0.5, 4.0),
        lens_blur=between(0.2, 0.8),
        shutter=between(1 / 400, 1 / 60),
    )
    grey = between(0.58, 0.78)
    match weather:
        case "overcast":
            return replace(
                look,
                sun=(0.10, 0.10, 0.10),
                ambient=tint((0.68, 0.70, 0.73), 0.02, 0.12),
                zenith=(0.8 * grey, 0.82 * grey, 0.86 * grey),
                horizon=(grey, grey, 1.02 * grey),
                cloud=between(0.7, 1.0),
                fog_density=between(0.001, 0.003),
                wet=between(0, 0.25),
            )
        case "dusk":
            return replace(
                look,
                sun_elevation=between(0.07, 0.22),
                sun=tint((0.95, 0.52, 0.25), 0.08, 0.15),
                ambient=tint((0.34, 0.33, 0.42), 0.06, 0.12),
                zenith=tint((0.20, 0.26, 0.50), 0.1, 0.15),
                horizon=tint((0.96, 0.62, 0.38), 0.06, 0.1),
                cloud=between(0.2, 0.7),
            )
        case "fog":
            return replace(
                look,
                sun=(0.06, 0.06, 0.05),
                ambient=(0.72, 0.73, 0.74),
                zenith=(grey, grey, 1.01 * grey),
                horizon=(1.03 * grey, 1.03 * grey, 1.04 * grey),
                cloud=1.0,
                fog_density=between(0.008, 0.035),
                wet=between(0, 0.4),
            )
        case "rain":
            grey *= 0.85
            return replace(
                look,
                sun=(0.03, 0.03, 0.03),
                ambient=tint((0.55, 0.57, 0.60), 0.02, 0.1),
                zenith=(0.7 * grey, 0.73 * grey, 0.78 * grey),
                horizon=(grey, 1.01 * grey, 1.03 * grey),
                cloud=1.0,
                fog_density=between(0.003, 0.009),
                rain=between(0.3, 1.0),
                wet=between(0.5, 0.9),
                lens_blur=between(0.4, 0.9),
            )
        case "night":
            return replace(
                look,
                sun=(0.02, 0.025, 0.04),
                ambient=tint((0.075, 0.085, 0.125), 0.1, 0.25),
                zenith=(0.012, 0.018, 0.045),
                horizon=tint((0.075, 0.075, 0.11), 0.15, 0.3),
                cloud=between(0, 0.5),
                fog_density=between(0.001, 0.004),
                night=1.0,
                noise=between(3, 7),
                wet=between(0, 0.5) * float(rng.random() < 0.3),
            )
    return look
