"""Text to octets and back: alphabets, segmentation, reassembly (3GPP TS 23.038 and 23.040)."""
