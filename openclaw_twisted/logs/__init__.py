"""What the gateway says of itself: lines for people, JSON for programs, on the terminal and in a file."""
