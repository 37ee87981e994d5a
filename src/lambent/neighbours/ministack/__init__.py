"""The process beside the server in which MiniStack answers for S3, DynamoDB, SQS and the rest.

``adapter`` alone knows MiniStack; ``dispatch`` hands it requests, ``state`` keeps what it knows,
``__main__`` starts it all, shut off from everything but its own folder and two sockets.
"""
