"""What every test may use: the repository's own modules for tests are importable by name."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / folder) for folder in ("peers", "drivers", "dsp", "display")]
