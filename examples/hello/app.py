"""A first function: says hello, and remembers how often this environment was asked."""

calls = 0


def handler(event, context):
    global calls
    calls += 1
    print(f"call {calls} in this environment, {context.get_remaining_time_in_millis()} ms left")
    return {"message": f"Hello, {event.get('name', 'you')}!", "calls": calls}
