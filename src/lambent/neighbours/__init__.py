"""The AWS services beside Lambda, as far as functions and their code need them."""
