"""The bytes on the store: pure encoders and decoders. `docs/format.md` is normative; the rules' numbers (F-…)
are cited where they are kept."""
