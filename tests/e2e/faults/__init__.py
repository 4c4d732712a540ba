"""Tests that kill parts of one running Waybill in mid-work."""
