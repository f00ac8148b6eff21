"""``python -m deepfeat``."""

from deepfeat.cli.main import main

main()
