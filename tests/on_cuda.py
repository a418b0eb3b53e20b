"""The tests that need a CUDA device, then the benchmark on it: ``python tests/on_cuda.py``."""

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run both and say whether the tests passed."""
    if not torch.cuda.is_available():
        print("torch sees no CUDA device here; it needs a build with CUDA, and a driver")
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    python = [sys.executable, "-m", "pytest", "-k", "cuda or gpu", "-rs", "--durations=5"]
    tests = subprocess.run([*python, *sys.argv[1:]], cwd=ROOT).returncode
    sizes = ["--sizes", "10000", "1000000"]
    bench = [sys.executable, "tests/bench.py", "--device", "cuda", *sizes]
    return tests or subprocess.run(bench, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
