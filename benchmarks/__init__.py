"""Speed and memory as ratios: contenders take turns in one run, so that the machine's mood is the same for both."""
