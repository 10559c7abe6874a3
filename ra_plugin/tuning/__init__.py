"""Tune a finished restorer for recognizers within a budget of PSNR: from a file to a file and its report."""
