darkroom_room(sampling SOURCES noise.cc noise_source.cc latents.cc schedule.cc sampler.cc guidance.cc guidance_text.cc step_cache.cc DEPS tensor options)
