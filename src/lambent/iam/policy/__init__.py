"""Policies: what they say, and what follows from several of them; pure, no I/O.

Source: AWS IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements reference".
"""
