darkroom_room(sampling SOURCES noise.cc latents.cc schedule.cc sampler.cc guidance.cc DEPS tensor)
