"""From scores to numbers to pictures; nothing here needs torch but embed.py."""
