"""Says what a picture shows: classify.py LIBRETORT_SO MODEL PICTURE"""
import ctypes
import sys

retort = ctypes.CDLL(sys.argv[1])
retort.retort_load.restype = ctypes.c_void_p
retort.retort_last_error.restype = retort.retort_class_name.restype = ctypes.c_char_p

model = ctypes.c_void_p(retort.retort_load(sys.argv[2].encode()))
if not model:
    sys.exit(retort.retort_last_error().decode())
probabilities = (ctypes.c_float * retort.retort_classes(model))()
if retort.retort_classify_file(model, sys.argv[3].encode(), probabilities):
    sys.exit(retort.retort_last_error().decode())
for i, probability in enumerate(probabilities):
    print(retort.retort_class_name(model, i).decode(), f"{probability:.4f}")
retort.retort_free(model)
