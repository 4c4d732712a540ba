"""Tests that look at one running Waybill, and do not break it."""
