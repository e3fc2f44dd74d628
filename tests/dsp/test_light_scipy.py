"""scipy.stats stays unloaded for us and is the real one for whoever uses it."""

import subprocess
import sys


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


LOADED = "'scipy.stats._stats_py' in sys.modules"


def test_the_stages_do_not_load_it():
    assert python(f"import sys, agent.dsp.chains; print({LOADED})") == "False"


def test_scipy_signal_alone_would():
    assert python(f"import sys, scipy.signal; print({LOADED})") == "True"


def test_whoever_uses_it_gets_the_real_one():
    for use in (
        "import scipy.stats; value = scipy.stats.norm.cdf(0)",
        "from scipy import stats; value = stats.norm.cdf(0)",
        "from scipy.stats import norm; value = norm.cdf(0)",
        "import scipy.stats.distributions as d; value = d.norm.cdf(0)",
    ):
        assert python(f"import sys, agent.dsp.chains; {use}; print(value, {LOADED})") == "0.5 True", use


def test_the_function_scipy_signal_wants_works():
    script = """
import agent.dsp, numpy as np, sys
agent.dsp.EcgFilter
from scipy.signal import find_peaks_cwt
print(find_peaks_cwt(np.sin(np.arange(100) / 5), [4, 5])[0] in range(5, 12))
"""
    assert python(script) == "True"
