"""Approvals: people, the policy that says who is asked, rounds of asking, decisions, the clock, and deputies."""
