"""Why a gradient is wrong or missing, in words for its student."""
