"""The certificate authority: decides, signs and re-checks. The gateway cannot import it."""
