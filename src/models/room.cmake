darkroom_room(models SOURCES clip/clip.cc t5/t5.cc flux/config.cc flux/conditioning.cc flux/blocks.cc vae/vae.cc vae/strips.cc
  DEPS nn)
