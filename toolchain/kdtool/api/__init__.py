"""The public interface, `kdtool.__all__`: the names that `import kdtool` offers, one module for each concept.

Each function calls the functions that the commands use. A module loads the packages for training only when
one of its functions is called, so that the interface works on a device without torch.
"""
