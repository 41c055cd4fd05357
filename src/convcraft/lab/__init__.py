"""The lab: what the book experiments with. It stands on the library; nothing in the library imports it.

Its modules are imported one by one (`from convcraft.lab import data, models, training`), so that each asks
only for the extras that it needs: scikit-learn for the digits, pooch for downloads, scipy for intervals, tqdm
for a progress bar.
"""
