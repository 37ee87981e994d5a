"""What a request to a neighbour wants to do with which resource, as policies name it.

One module per way of asking: S3's paths, the json protocol's targets, the query protocol's actions,
the scheduler's paths.  What they cannot read is refused, never let through unread.
Source: Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""
