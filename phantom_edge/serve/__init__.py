"""A local service of OpenAI's API over sessions: chat completions about pictures, on this machine.

The server's own process is light. Each model runs in a process of its own (``worker``), with a queue of
bounded length before it (``lane``); what is wrong with a request ends as the API's error object.
"""
