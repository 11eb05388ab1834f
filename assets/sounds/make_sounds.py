"""Makes the three sounds beside this file: `python assets/sounds/make_sounds.py`. The standard library alone.

Struck notes: a sine with two quiet overtones, a soft start and a falling end. 22,050 samples a second, 16 bits, mono.
"""

import math
import wave
from array import array
from pathlib import Path

RATE = 22_050
LOUDEST = 0.5

C5, E5, G5, C6, A4, E4 = 523.25, 659.26, 783.99, 1046.50, 440.00, 329.63

SOUNDS = {
    "stage_done": (0.9, [(0.0, E5), (0.16, G5)]),
    "all_done": (1.3, [(0.0, C5), (0.16, E5), (0.32, G5), (0.48, C6)]),
    "trouble": (1.1, [(0.0, A4), (0.28, E4)]),
}
"""By name: seconds, and (second at which it begins, Hz) of each note."""


def main() -> None:
    """Write every sound."""
    for name, (seconds, notes) in SOUNDS.items():
        times = [number / RATE for number in range(int(seconds * RATE))]
        samples = [sum(_note(time - begin, pitch) for begin, pitch in notes) * _fade(seconds - time) for time in times]
        scale = 32767 * LOUDEST / max(map(abs, samples))
        scaled = array("h", (round(scale * sample) for sample in samples))
        with wave.open(str(Path(__file__).with_name(f"{name}.wav")), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(scaled.tobytes())


def _note(second: float, pitch: float) -> float:
    """A struck note, `second` after its begin."""
    if second < 0:
        return 0.0
    start = min(1.0, second / 0.006)
    tone = sum(share * math.exp(-second * decay) * math.sin(2 * math.pi * pitch * overtone * second)
               for overtone, share, decay in ((1, 1.0, 4.5), (2, 0.25, 9.0), (4, 0.08, 16.0)))  # fmt: skip
    return start * tone


def _fade(left: float) -> float:
    """To silence within the last tenth of a second: no click. left: seconds to the end."""
    return min(1.0, left / 0.1)


if __name__ == "__main__":
    main()
