"""Alerts: raised once per trouble, worded for the person who reads them, told, quieted for a while, taken back."""
