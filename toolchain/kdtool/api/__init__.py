"""The public face, `kdtool.__all__`: what `import kdtool` offers, one module for each concept.

Each function goes through the functions that the commands use. A module loads what training needs only when
a function of it is called, so that the face works on a device without torch.
"""
