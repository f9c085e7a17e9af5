darkroom_room(sampling SOURCES noise.cc latents.cc schedule.cc sampler.cc guidance.cc DEPS tensor)
# The bits of noise, sigmas and latents are promised: no compiler may fuse a product and a sum that we wrote apart.
target_compile_options(darkroom_sampling PRIVATE -ffp-contract=off)
