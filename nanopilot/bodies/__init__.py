"""What the pilot lives in: one file each, all with the three calls and two facts of `messages.Body`."""
