"""The state of one window: plain Python with signals, no Qt. Views read it and call its methods, never each other."""
