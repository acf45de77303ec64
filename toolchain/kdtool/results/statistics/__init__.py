"""Estimates with their intervals, for test splits of finite size and for times. Needs numpy only."""
